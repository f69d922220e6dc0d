//! From an event's body to the function's own type.

use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tidegate_model::answer::Rejection;
use tidegate_model::event::Event;

/// Decodes a body that is JSON text. The type is any that serde can deserialize.
///
/// # Errors
/// A body that is no JSON, or not of this type, is rejected with the place where it stops being so.
pub fn json<E: DeserializeOwned>(event: &Event) -> Result<E, Rejection> {
    let body = event.body();
    serde_json::from_str(text(body)?).map_err(|error| match error.classify() {
        Category::Data => Rejection { reason: format!("the body is JSON of another shape: {error}") },
        Category::Io | Category::Syntax | Category::Eof => {
            Rejection { reason: format!("the body is not JSON: {error}") }
        }
    })
}

/// The body as text.
fn text(body: &[u8]) -> Result<&str, Rejection> {
    if body.is_empty() {
        return Err(Rejection { reason: "the body is empty".to_owned() });
    }
    std::str::from_utf8(body).map_err(|error| Rejection {
        reason: format!("the body is not UTF-8 from byte {} on", error.valid_up_to()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::event;

    #[test]
    fn a_body_is_read_or_refused_with_the_place_of_the_fault() {
        assert_eq!(json::<Vec<u8>>(&event(0, "[1,2]")), Ok(vec![1, 2]));
        for (body, reason) in [
            (&b""[..], "the body is empty"),
            (b"[1,\xff]", "the body is not UTF-8 from byte 3 on"),
            (b"[1,", "the body is not JSON: EOF while parsing a value at line 1 column 3"),
            (b"[1 2]", "the body is not JSON: expected `,` or `]` at line 1 column 4"),
            (
                b"[1,\"x\"]",
                "the body is JSON of another shape: invalid type: string \"x\", expected u8 at line 1 column 6",
            ),
        ] {
            let event = event(0, body.to_vec());
            assert_eq!(json::<Vec<u8>>(&event), Err(Rejection { reason: reason.to_owned() }));
        }
    }
}
