// SPDX-License-Identifier: GPL-2.0
#![no_std]
#![forbid(unsafe_code)]
