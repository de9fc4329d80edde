// SPDX-License-Identifier: GPL-2.0
//! Enums that know all their variants.

/// Declares an enum with the list of its variants, so that none can be left out of it.
macro_rules! listed {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$of_variant:meta])* $variant:ident,)+ }
    ) => {
        $(#[$meta])*
        pub enum $name { $($(#[$of_variant])* $variant,)+ }

        impl $name {
            /// Lists every one, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
        }
    };
}

pub(crate) use listed;
