//! Tests of the component alone, everybody else played by the test.

mod bench;
mod following;
mod publishing;
