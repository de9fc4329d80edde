// SPDX-License-Identifier: GPL-2.0
//! A batch of pages on its way, whichever engine moves it: its pages, how hard to
//! try, attempt after attempt, and what follows a commit.

pub(crate) mod finish;
pub(crate) mod job;
pub(crate) mod page;
pub(crate) mod policy;
pub(crate) mod run;
mod sizer;
pub(crate) mod step;

pub use finish::{Finish, Round};
pub use job::Job;
pub use page::{together, Abort, AbortCounts, Method, Outcome, PageMove, PageState};
pub use policy::Policy;
pub use run::{reopen, Engine, Progress, Run, Stage};
pub use sizer::{sharing_table, BatchSizer};
pub use step::Steps;
