//! `[dependency.NAME]`: something that functions need, with a circuit of its own.

use toml_edit::Item;

use tidegate_host::circuit::CircuitSettings;
use tidegate_host::settings::Dependency;
use tidegate_model::checkpoint::FunctionName;

use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting};

const CIRCUIT: Key<CircuitSettings> = Key::with_default(
    "circuit",
    "{}",
    "When the functions that need it are stopped, all together. Its failures are those events of which a function says that \
     they failed because of it; its successes are all events of those functions that succeed. Where only few events need it, \
     a lower `failure_ratio` tells sooner.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[dependency.NAME]",
    doc: "Something that functions need: a service, a database. Functions name it in `dependencies`, and say of an event that \
          it failed because of it: `Failure::new(\"no answer\").because_of(\"NAME\")`. Such a failure counts in the circuit of \
          the dependency and not in the function's; while that is open, no function that needs it is given events.",
    keys: &[&CIRCUIT as &dyn KeyInfo],
    example: "[dependency.geocoder]\ncircuit = { threshold = 50, failure_ratio = 0.2 }\n",
};

/// Reads the dependency `name`; `None` when something of it is wrong.
pub(crate) fn read(name: FunctionName, reader: &mut Reader<'_, '_>) -> Option<Dependency> {
    Some(Dependency { name, circuit: reader.get(&CIRCUIT)? })
}

/// The names of dependencies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(pub(crate) Vec<FunctionName>);

impl Setting for Names {
    const TYPE: &'static str = "an array of names";
    const EXAMPLE: &'static str = "[\"geocoder\"]";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let name = |text: &str| FunctionName::new(text).ok();
        let names = item
            .as_array()
            .and_then(|array| array.iter().map(|value| name(value.as_str()?)).collect::<Option<Vec<_>>>());
        if names.is_none() {
            place.not_a::<Self>(item);
        }
        names.map(Self)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Registered};

    const FUNCTION: &str = "[hub.h]\n[function.f]\nhub = \"h\"\nkind = \"rust\"\n";

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, "file", Registered::Any).map_err(|failure| failure.to_string())
    }

    #[test]
    fn functions_share_what_they_need() {
        let text = format!(
            "{FUNCTION}dependencies = [\"geocoder\"]\n[function.g]\nhub = \"h\"\nkind = \"rust\"\n\
             dependencies = [\"weather\", \"geocoder\"]\n\
             [dependency.geocoder]\ncircuit = {{ threshold = 7 }}\n[dependency.weather]\n"
        );
        let config = parse(&text).expect("it is right");
        let thresholds: Vec<_> =
            config.circuits().iter().map(|(name, circuit)| (name.to_string(), circuit.threshold)).collect();
        let expected = [("f", 100), ("g", 100), ("geocoder", 7), ("weather", 100)];
        assert_eq!(thresholds, expected.map(|(name, threshold)| (name.to_owned(), threshold)));
    }

    #[test]
    fn what_is_not_declared_or_named_twice_is_refused() {
        for (more, problem) in [
            ("dependencies = [\"geocodr\"]\n[dependency.geocoder]\n", "\"geocodr\", which is not declared"),
            ("dependencies = [\"x\", \"x\"]\n[dependency.x]\n", "named twice"),
            ("[dependency.f]\n", "has the same name"),
            ("dependencies = \"x\"\n", "an array of names"),
            ("[dependency.x]\nthreshold = 7\n", "threshold"),
        ] {
            let refused = parse(&format!("{FUNCTION}{more}")).expect_err(more);
            assert!(refused.contains(problem), "{more}: {refused}");
        }
    }
}
