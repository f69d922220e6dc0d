use proptest::prelude::*;
use serde_json::json;

use super::*;

fn rule(fields: &[&str]) -> MaskRule {
    MaskRule {
        hubs: About::All,
        collections: About::All,
        fields: fields.iter().map(|field| field.parse().unwrap()).collect(),
        properties: vec!["operator".to_owned()],
        bodies: false,
        errors: false,
        below: Role::Operator,
    }
}

fn masked(rule: MaskRule, role: Role, origin: Origin<'_>, answer: &Value) -> Value {
    let mut answer = answer.clone();
    Masks::new(vec![rule]).mask(role, origin, &mut answer);
    answer
}

/// An answer with everything in it that can tell of an event or a document. `SECRET` is what must not be seen.
fn answer() -> Value {
    let body = r#"{"id":"a","lat":"SECRET"}"#;
    let data = json!({
        "partition_key": "k", "properties": {"operator": "SECRET", "kind": "x"}, "system_properties": {},
        "body": body, "body_base64": STANDARD.encode(body),
    });
    let state = json!({"collection": "aircraft", "id": "a", "body": {"lat": "SECRET", "seen": 1}});
    let mut letter = json!({
        "id": 7, "hub": "flights", "function": "aircraft", "class": "permanent", "reason": "because",
        "attempts": [{"at": "t", "error": "odd"}], "edited": data, "event": data, "document": state,
        "document_now": state, "document_diff": "-SECRET", "edited_diff": "+SECRET",
        "history": [{"action": "dead-letter.edit", "reason": "typo", "detail": {"diff": "SECRET"}}],
    });
    for (name, value) in data.as_object().unwrap() {
        letter[name] = value.clone();
    }
    json!({
        "event": data, "functions": [{"dead_letter": letter, "parked": data, "documents": [state]}],
        "items": [{"id": "a", "document": {"lat": "SECRET", "deep": {"lat": 1}}}],
        "writers": [{"preview": "SECRET"}], "before": {"lat": "SECRET"}, "after": null,
    })
}

#[test]
fn who_is_below_the_role_sees_no_masked_field_anywhere() {
    let seen = masked(rule(&["/lat"]), Role::Reader, Origin::default(), &answer());
    assert!(!seen.to_string().contains("SECRET"), "{seen:#}");
    assert!(!seen.to_string().contains(&STANDARD.encode(r#"{"id":"a","lat":"SECRET"}"#)));
    let letter = &seen["functions"][0]["dead_letter"];
    assert_eq!(letter["body"], r#"{"id":"a","lat":"(masked)"}"#);
    let decoded = STANDARD.decode(letter["body_base64"].as_str().unwrap()).unwrap();
    assert_eq!(decoded, br#"{"id":"a","lat":"(masked)"}"#);
    assert_eq!(letter["properties"], json!({"operator": MASKED, "kind": "x"}));
    assert_eq!(letter["document"]["body"], json!({"lat": MASKED, "seen": 1}));
    assert_eq!((&letter["reason"], &letter["history"][0]["reason"]), (&json!("because"), &json!("typo")));
    assert_eq!(seen["items"][0]["document"], json!({"lat": MASKED, "deep": {"lat": 1}}));
    assert_eq!(seen["after"], Value::Null);
    for role in [Role::Operator, Role::Admin] {
        assert_eq!(masked(rule(&["/lat"]), role, Origin::default(), &answer()), answer());
    }
}

#[test]
fn whole_bodies_and_the_texts_of_errors_can_be_masked() {
    let all = MaskRule { bodies: true, errors: true, ..rule(&[]) };
    let seen = masked(all, Role::Reader, Origin::default(), &answer());
    let letter = &seen["functions"][0]["dead_letter"];
    assert_eq!(letter["body"], MASKED);
    assert_eq!(letter["body_base64"], STANDARD.encode(MASKED));
    assert_eq!(letter["document"]["body"], MASKED);
    assert_eq!((&letter["reason"], &letter["attempts"][0]["error"]), (&json!(MASKED), &json!(MASKED)));
    assert_eq!(letter["history"][0]["reason"], "typo", "what a person said stays");
    assert_eq!(letter["document"]["id"], "a");
    let log = json!({"level": "WARN", "target": "t", "message": "SECRET", "fields": {"error": "SECRET", "hub": "h"}});
    let all = MaskRule { errors: true, ..rule(&[]) };
    assert!(!masked(all, Role::Reader, Origin::default(), &log).to_string().contains("SECRET"));
}

#[test]
fn a_document_can_be_the_whole_answer() {
    let mut document = json!({"lat": 1, "body": "x"});
    Masks::new(vec![rule(&["/lat"])]).mask_document(Role::Reader, "aircraft", &mut document);
    assert_eq!(document, json!({"lat": MASKED, "body": "x"}));
}

#[test]
fn a_body_that_is_no_json_has_no_fields_that_could_be_spared() {
    for body in ["{\"lat\": \"SECRET\"", "SECRET", "", "\u{feff}{}"] {
        let given = json!({"body": body, "body_base64": STANDARD.encode(body)});
        let seen = masked(rule(&["/lat"]), Role::Reader, Origin::default(), &given);
        assert_eq!(seen, json!({"body": MASKED, "body_base64": STANDARD.encode(MASKED)}), "{body}");
    }
}

#[test]
fn a_rule_is_about_its_hubs_and_collections_only() {
    let only = |name: &str| About::Only(vec![name.to_owned()]);
    let of_hub =
        || MaskRule { hubs: only("flights"), collections: About::Only(Vec::new()), ..rule(&["/lat"]) };
    let event = json!({"body": r#"{"lat":1}"#});
    let from = |hub| Origin { hub, collection: None };
    assert_ne!(masked(of_hub(), Role::Reader, from(Some("Flights")), &event), event);
    assert_eq!(masked(of_hub(), Role::Reader, from(Some("drones")), &event), event);
    assert_ne!(masked(of_hub(), Role::Reader, from(None), &event), event, "it may be of that hub");
    let document = json!({"id": "a", "document": {"lat": 1}});
    assert_eq!(masked(of_hub(), Role::Reader, Origin::default(), &document), document);
    let of_collection =
        || MaskRule { hubs: About::Only(Vec::new()), collections: only("aircraft"), ..rule(&["/lat"]) };
    let of = |collection| Origin { hub: None, collection };
    assert_ne!(masked(of_collection(), Role::Reader, of(Some("aircraft")), &document), document);
    assert_eq!(masked(of_collection(), Role::Reader, of(Some("drones")), &document), document);
    assert_eq!(masked(of_collection(), Role::Reader, from(None), &event), event);

    assert!(!Masks::new(vec![of_collection()]).allow_queries(Role::Reader));
    assert!(Masks::new(vec![of_collection()]).allow_queries(Role::Operator));
    assert!(Masks::new(vec![of_hub()]).allow_queries(Role::Reader), "no document is masked");
    assert!(Masks::default().spare(Role::Reader) && !Masks::new(vec![of_hub()]).spare(Role::Reader));
}

proptest! {
    #[test]
    fn no_body_panics_or_shows_the_field(text in "\\PC{0,40}", secret in "[a-z]{12}") {
        let body = json!({"lat": secret, "text": text}).to_string();
        let given = json!({"hub": "h", "body": body, "body_base64": STANDARD.encode(&text)});
        let seen = masked(rule(&["/lat"]), Role::Reader, Origin::default(), &given).to_string();
        prop_assert!(!seen.contains(&secret));
    }
}
