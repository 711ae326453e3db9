"""One answer against an OpenAPI 3.0 document: is its status declared, its type, its body as the schema says?

Pure but for reading files. What is known to be wrong in the document itself stands in a list of defects, each with its
reason; nothing else is excused.
"""
import fnmatch
import json
import urllib.parse

from openapi_schema_validator import OAS30Validator, oas30_format_checker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
# What a defect may be; see `Defects`.
KINDS = ("array-declared-as-item", "values-declared-as-item", "ignore", "status-missing", "body-undeclared", "type-missing")


class Finding(Exception):
    """What is wrong with one answer."""

    def __init__(self, kind, operation, status, at, message):
        self.kind, self.operation, self.status, self.at, self.message = kind, operation, status, at, message

    def __str__(self):
        return f"{self.operation} → {self.status}: {self.kind}{f' at {self.at}' if self.at else ''}: {self.message}"


class Defects:
    """The document's own faults: a list of {"operation", "status", "defect", "at", "reason"}.

    array-declared-as-item   the schema is that of each item of the array which is sent
    values-declared-as-item  the schema is that of each of the `values` in the page which is sent
    ignore                   what the schema says of the places that `at` matches (* is one name or more) does not hold
    status-missing           the status happens, and is not declared
    body-undeclared          a body comes with this status, and none is declared
    type-missing             the type of the body is not among those declared
    """

    def __init__(self, entries):
        for entry in entries:
            if set(entry) - {"operation", "status", "defect", "at", "reason"} or entry["defect"] not in KINDS:
                raise ValueError(f"no such defect: {entry}")
            if not entry["reason"].strip():
                raise ValueError(f"a defect without its reason: {entry}")
        self.entries = entries
        self.used = set()

    @classmethod
    def read(cls, path):
        with open(path) as file:
            return cls(json.load(file))

    def find(self, defect, operation, status, at=""):
        for number, entry in enumerate(self.entries):
            fits = entry["defect"] == defect and str(entry["status"]) in (str(status), "*")
            if not fits or not fnmatch.fnmatchcase(operation, entry["operation"]):
                continue
            if "at" not in entry or fnmatch.fnmatchcase(at, entry["at"]):
                self.used.add(number)
                return entry
        return None


def pointer(*names):
    return "/" + "/".join(str(name).replace("~", "~0").replace("/", "~1") for name in names)


class Document:
    def __init__(self, document):
        if not str(document.get("openapi", "")).startswith("3.0"):
            raise ValueError("this is no OpenAPI 3.0 document")
        self.document = document
        resource = Resource(contents=document, specification=DRAFT4)
        self.registry = Registry().with_resource("urn:document", resource)
        # `http://{baseurl}/rest`: what precedes every path.
        server = (document.get("servers") or [{"url": ""}])[0]["url"]
        self.prefix = urllib.parse.urlsplit(server.replace("{", "").replace("}", "")).path.rstrip("/")

    @classmethod
    def read(cls, path):
        with open(path) as file:
            return cls(json.load(file))

    def operation(self, method, path):
        """The template that fits a path (as `/rest/api/2/…`) and declares the method; literal segments win."""
        if not path.startswith(self.prefix + "/"):
            return None
        wanted = path[len(self.prefix):].strip("/").split("/")
        best = None
        for template, operations in self.document["paths"].items():
            segments = template.strip("/").split("/")
            if method.lower() not in operations or len(segments) != len(wanted):
                continue
            literal = [one == other for one, other in zip(segments, wanted)]
            if all(same or one.startswith("{") for same, one in zip(literal, segments)):
                rank = [not same for same in literal]
                best = min(best or (rank, template), (rank, template))
        return best and best[1]

    def kind(self, place):
        """The type that the schema at a JSON pointer declares, through its references."""
        for _ in range(16):
            schema = self.document
            for name in place.split("/")[1:]:
                schema = schema.get(name.replace("~1", "/").replace("~0", "~"), {})
            if "$ref" not in schema:
                return schema.get("type")
            place = schema["$ref"].removeprefix("#")
        return None

    def schema_errors(self, place, body):
        """Every violation of the schema at a JSON pointer, each with its place in the body."""
        fragment = urllib.parse.quote(place)
        schema = {"$ref": f"urn:document#{fragment}"}
        validator = OAS30Validator(schema, registry=self.registry, format_checker=oas30_format_checker)
        for error in validator.iter_errors(body):
            yield pointer(*error.absolute_path) if error.absolute_path else "", error.message


def check(document, defects, method, path, status, kind, text):
    """Every finding for one answer. `kind` is its Content-Type, `text` its body."""
    template = document.operation(method, path)
    if template is None:
        return [Finding("unknown-operation", f"{method} {path}", status, "", "the document does not have it")]
    operation = f"{method} {template}"
    media = (kind or "").split(";")[0].strip().lower()
    responses = document.document["paths"][template][method.lower()].get("responses", {})

    def finding(what, message, at=""):
        return Finding(what, operation, status, at, message)

    if status == 204 and text:
        return [finding("body-in-204", f"{len(text)} bytes")]
    declared = responses.get(str(status), responses.get("default"))
    if declared is None:
        if defects.find("status-missing", operation, status):
            return error_body(finding, status, media, text) if status >= 400 else []
        return [finding("undeclared-status", f"declared are {', '.join(responses)}")]
    content = declared.get("content") or {}
    if not content:
        if status >= 400:
            return error_body(finding, status, media, text)
        if text and not defects.find("body-undeclared", operation, status):
            return [finding("undeclared-body", f"{len(text)} bytes of {media or 'no type'}")]
        return []
    if media not in content:
        if defects.find("type-missing", operation, status):
            return []
        return [finding("undeclared-type", f"{media or 'none'}; declared are {', '.join(content)}")]
    if "schema" not in content[media] or media != "application/json":
        return []
    try:
        body = json.loads(text)
    except ValueError as error:
        return [finding("no-json", str(error))]
    response = str(status) if str(status) in responses else "default"
    place = pointer("paths", template, method.lower(), "responses", response, "content", media, "schema")
    return list(body_findings(document, defects, finding, operation, status, place, body))


def body_findings(document, defects, finding, operation, status, place, body):
    # A later edition of the document may have mended it.
    if document.kind(place) != "array" and defects.find("array-declared-as-item", operation, status):
        if not isinstance(body, list):
            yield finding("schema", "an array is expected, whatever the document says")
            return
        parts = [(pointer(number), item) for number, item in enumerate(body)]
    elif defects.find("values-declared-as-item", operation, status):
        if not isinstance(body, dict) or not isinstance(body.get("values"), list):
            yield finding("schema", "a page with `values` is expected, whatever the document says")
            return
        parts = [(pointer("values", number), item) for number, item in enumerate(body["values"])]
    else:
        parts = [("", body)]
    for before, part in parts:
        for at, message in document.schema_errors(place, part):
            if not defects.find("ignore", operation, status, before + at):
                yield finding("schema", message[:300], before + at)


def error_body(finding, status, media, text):
    """Errors are rarely declared; they have few shapes all the same, and clients must be able to read them."""
    if not text or media == "text/html":
        return []
    if media == "text/plain":
        return [] if status == 403 and text.startswith("XSRF") else [finding("error-shape", f"text: {text[:80]!r}")]
    try:
        body = json.loads(text)
    except ValueError as error:
        return [finding("no-json", f"{media}: {error}")]
    messages, errors = body.get("errorMessages"), body.get("errors")
    core = isinstance(messages, list) and isinstance(errors, dict) and (messages or errors)
    core = core and all(isinstance(one, str) for one in [*messages, *errors.values()])
    if core or isinstance(body.get("message"), str):
        return []
    return [finding("error-shape", f"neither errorMessages and errors nor message: {text[:120]}")]
