//! A JSON merge patch (RFC 7396) on text (pure). What is not changed keeps its place and is copied as it is written, so that
//! numbers keep every digit.

use serde_json::value::RawValue;

use crate::api::members::Members;

/// How deep a patch may go. What the parser takes is less deep than its own limit of 128.
const MAX_DEPTH: usize = 128;

/// `target` with `patch` merged into it.
///
/// # Errors
/// When one of them is no JSON.
pub(super) fn merged(target: &str, patch: &str) -> Result<String, String> {
    let check = |what: &str, text: &str| {
        serde_json::from_str::<serde::de::IgnoredAny>(text)
            .map(drop)
            .map_err(|error| format!("{what} is no JSON: {error}"))
    };
    check("the body", target)?;
    check("the patch", patch)?;
    merge(Some(target.trim()), patch.trim(), 0)
}

fn merge(target: Option<&str>, patch: &str, depth: usize) -> Result<String, String> {
    if !patch.starts_with('{') {
        return Ok(patch.to_owned());
    }
    if depth > MAX_DEPTH {
        return Err("the patch is too deep".to_owned());
    }
    let Members(patch) = parse(patch)?;
    let Members(mut members) = match target.filter(|target| target.starts_with('{')) {
        Some(target) => parse(target)?,
        None => Members(Vec::new()),
    };
    for (name, value) in patch {
        let place = members.iter().position(|(own, _)| *own == name);
        if value.get() == "null" {
            // Also where the name comes twice.
            members.retain(|(own, _)| *own != name);
            continue;
        }
        let was = place.and_then(|place| members.get(place)).map(|(_, value)| value.get().to_owned());
        let new = merge(was.as_deref(), value.get(), depth + 1)?;
        let new = RawValue::from_string(new).map_err(|error| error.to_string())?;
        match place.and_then(|place| members.get_mut(place)) {
            Some(member) => member.1 = new,
            None => members.push((name, new)),
        }
    }
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{}:{}", serde_json::Value::from(name.as_str()), value.get()))
        .collect();
    Ok(format!("{{{}}}", members.join(",")))
}

fn parse(object: &str) -> Result<Members<Box<RawValue>>, String> {
    serde_json::from_str(object).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The examples of RFC 7396, appendix A.
    #[test]
    fn the_examples_of_the_standard_hold() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            let merged = merged(target, patch).unwrap();
            let same = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            assert_eq!(same(&merged), same(result), "{target} {patch}");
        }
    }

    #[test]
    fn what_is_not_patched_is_copied() {
        let target = r#"{ "z": 12345678901234567890.10, "a": {"b" : [1 , 2]}, "c": 1 }"#;
        assert_eq!(
            merged(target, r#"{"c":2,"d":3}"#).unwrap(),
            r#"{"z":12345678901234567890.10,"a":{"b" : [1 , 2]},"c":2,"d":3}"#
        );
        assert!(merged("{", "{}").unwrap_err().starts_with("the body is no JSON"));
        assert!(merged("{}", "{a").unwrap_err().starts_with("the patch is no JSON"));
        assert!(merged("{}", &"[".repeat(1_000_000)).is_err());
    }
}
