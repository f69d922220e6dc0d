"""What schemathesis is told about the API: listings are asked for as one object, which has a schema."""

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    case.headers = case.headers or {}
    case.headers["Accept"] = "application/json"
