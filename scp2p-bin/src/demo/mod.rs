//! stub
use crate::cli::DemoArgs;
use crate::failure::Failure;
/// e
#[derive(Debug)]
pub struct DemoError;
impl std::fmt::Display for DemoError {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
/// r
pub async fn run(_: &DemoArgs) -> Result<(), Failure> {
    Ok(())
}
