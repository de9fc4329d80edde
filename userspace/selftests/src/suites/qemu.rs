use std::process::ExitCode; pub fn main(_: &[String]) -> ExitCode { crate::tap::skip_all("not here") }
