//! What all targets share: the function behind a name, and its seeds on request.

pub use libfuzzer_sys;
pub use tidegate_hostile::targets;

/// The fuzz target of this name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            let target = $crate::targets::named($name).expect("the target is listed in hostile/src/targets.rs");
            (target.run)(bytes)
        });
    };
}
