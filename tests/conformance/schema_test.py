"""Every row of the operators against the schemas of the onnx package, in all their versions.

A row may allow more than a schema (types, attributes of another version that it covers), never less. What deviates on
purpose stands in schema_deviations.txt with its reason; an entry that is not needed fails.
"""

import functools
import json
import os
import pathlib
import subprocess

import numpy as np
import pytest
from onnx import defs, helper

DEVIATIONS = pathlib.Path(__file__).with_name("schema_deviations.txt")
ARITIES = {
    defs.OpSchema.FormalParameterOption.Single: "required",
    defs.OpSchema.FormalParameterOption.Optional: "optional",
    defs.OpSchema.FormalParameterOption.Variadic: "variadic",
}


@functools.cache
def rows() -> list[dict]:
    listing = subprocess.run([os.environ["MEZZO_CLI"], "ops", "--json"], check=True, capture_output=True, text=True)
    return json.loads(listing.stdout)["operators"]


@functools.cache
def schemas() -> dict[tuple[str, str], dict[int, defs.OpSchema]]:
    """By domain and name, then by version."""
    result: dict[tuple[str, str], dict[int, defs.OpSchema]] = {}
    for schema in defs.get_all_schemas_with_history():
        result.setdefault((schema.domain, schema.name), {})[schema.since_version] = schema
    return result


@functools.cache
def deviations() -> dict[str, str]:
    """What deviates, and why: the lines are `WHAT: REASON`."""
    lines = [line for line in DEVIATIONS.read_text().splitlines() if line and not line.startswith("#")]
    entries = [line.partition(": ") for line in lines]
    assert all(reason for _, _, reason in entries), "every deviation has a reason"
    assert len({what for what, _, _ in entries}) == len(entries), "a deviation is listed twice"
    return {what: reason for what, _, reason in entries}


def official(row: dict) -> bool:
    """Whether the onnx package defines operators of the row's domain."""
    return row["domain"] in {domain for domain, _ in schemas()}


def default_of(attribute: defs.OpSchema.Attribute):
    return helper.get_attribute_value(attribute.default_value) if attribute.default_value.type else None


def same_default(ours, theirs) -> bool:
    if isinstance(theirs, bytes):
        theirs = theirs.decode()
    if isinstance(theirs, float) and isinstance(ours, float):
        return np.float32(ours) == np.float32(theirs)
    if isinstance(theirs, list) and isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same_default, ours, theirs))
    return ours == theirs and type(ours) is type(theirs)


def attribute_findings(row: dict, schema: defs.OpSchema):
    ours = {attribute["name"]: attribute for attribute in row["attributes"]}
    for name, theirs in schema.attributes.items():
        what = f"attribute {name}"
        if name not in ours:
            yield what, "missing"
            continue
        if ours[name]["kind"] != theirs.type.name:
            yield f"{what} kind", f"{ours[name]['kind']}, not {theirs.type.name}"
        if ours[name]["required"] != theirs.required:
            yield f"{what} required", f"{ours[name]['required']}, not {theirs.required}"
        if not same_default(ours[name]["default"], default_of(theirs)):
            yield f"{what} default", f"{ours[name]['default']!r}, not {default_of(theirs)!r}"


def formal_findings(kind: str, ours: list[dict], theirs: list[defs.OpSchema.FormalParameter]):
    if len(ours) < len(theirs):
        yield f"{kind}s", f"{len(ours)}, not {len(theirs)}"
    for mine, formal in zip(ours, theirs):
        what = f"{kind} {formal.name}"
        if mine["arity"] != ARITIES[formal.option]:
            yield f"{what} arity", f"{mine['arity']}, not {ARITIES[formal.option]}"
        if mine["arity"] == "variadic" and mine["homogeneous"] != formal.is_homogeneous:
            yield f"{what} homogeneous", f"{mine['homogeneous']}, not {formal.is_homogeneous}"
        missing = sorted(t for t in formal.types if t.startswith("tensor(") and t not in mine["types"])
        if missing:
            yield f"{what} types", f"lacks {', '.join(missing)}"
    # What a later version added must be something that nodes of this one can leave out.
    for mine in ours[len(theirs) :]:
        if mine["arity"] == "required":
            yield f"{kind} {mine['name']}", "not in the schema, but required"


def twin_findings(ours: list[dict], schema: defs.OpSchema, covered: list[defs.OpSchema]):
    """Inputs that must have the same type as another one."""

    def same_type(of: defs.OpSchema, i: int, j: int) -> bool:
        return len(of.inputs) > max(i, j) and of.inputs[i].type_str == of.inputs[j].type_str

    for i, formal in enumerate(schema.inputs[: len(ours)]):
        twin = ours[i]["like_input"]
        if twin is not None and not same_type(schema, i, twin):
            yield f"input {formal.name} type", f"must be that of '{ours[twin]['name']}'; the schema doesn't say so"
        if twin is None and formal.is_homogeneous and len(ours[i]["types"]) > 1:
            twins = [j for j in range(i) if all(same_type(version, i, j) for version in covered)]
            if twins:
                yield f"input {formal.name} type", f"need not be that of '{ours[twins[0]]['name']}'; the schema says so"


def row_findings(row: dict):
    """(what, how) for all that differs."""
    versions = schemas()[row["domain"], row["name"]]
    covered = [versions[version] for version in row["versions"] if version in versions]
    for schema in covered:
        findings = [
            *attribute_findings(row, schema),
            *formal_findings("input", row["inputs"], schema.inputs),
            *formal_findings("output", row["outputs"], schema.outputs),
            *twin_findings(row["inputs"], schema, covered),
        ]
        yield from ((f"{row['name']}-{schema.since_version} {what}", how) for what, how in findings)
    newest = max(covered, key=lambda schema: schema.since_version)
    for kind, ours, theirs in (
        ("input", row["inputs"], newest.inputs),
        ("output", row["outputs"], newest.outputs),
    ):
        if [formal["name"] for formal in ours] != [formal.name for formal in theirs]:
            yield (
                f"{row['name']}-{newest.since_version} {kind} names",
                f"{[formal['name'] for formal in ours]}, not {[formal.name for formal in theirs]}",
            )
    known = set().union(*(schema.attributes for schema in covered))
    for attribute in row["attributes"]:
        if attribute["name"] not in known:
            yield f"{row['name']}-{newest.since_version} attribute {attribute['name']}", "in no schema"


def version_findings():
    """Versions that no row, or more than one, covers, and versions that there are not."""
    covered: dict[tuple[str, str], list[int]] = {}
    for row in filter(official, rows()):
        covered.setdefault((row["domain"], row["name"]), []).extend(row["versions"])
    for key, ours in covered.items():
        theirs = schemas().get(key, {})
        for version in sorted({*ours, *theirs}):
            # A deprecated version says only that no new model should use the operator.
            wanted = version in theirs
            optional = wanted and theirs[version].deprecated
            count = ours.count(version)
            if count != wanted and not (optional and count == 0):
                yield f"{key[1]}-{version} version", f"covered by {count} rows"


@functools.cache
def findings() -> dict[str, str]:
    result = dict(version_findings())
    for row in filter(official, rows()):
        if (row["domain"], row["name"]) in schemas():
            result.update(row_findings(row))
    return result


def test_rows_are_what_the_schemas_say():
    unexplained = [f"{what}: {how}" for what, how in findings().items() if what not in deviations()]
    assert not unexplained, "\n" + "\n".join(unexplained)


def test_every_deviation_is_needed():
    unneeded = sorted(set(deviations()) - set(findings()))
    assert not unneeded


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda row: row["attributes"][0].update(default=1), "attribute axis default"),
        (lambda row: row["attributes"][0].update(kind="INTS"), "attribute axis kind"),
        (lambda row: row["attributes"].clear(), "attribute axis"),
        (lambda row: row["inputs"][0]["types"].remove("tensor(float)"), "input data types"),
        (lambda row: row["inputs"][0].update(arity="optional"), "input data arity"),
        (lambda row: row["inputs"][2].update(like_input=None), "input updates type"),
        (lambda row: row["inputs"][1].update(like_input=0), "input indices type"),
        (lambda row: row["outputs"][0].update(name="result"), "output names"),
    ],
)
def test_a_wrong_row_is_found(change, what):
    """The check itself, on a row that was right."""
    row = next(row for row in rows() if row["name"] == "ScatterElements" and 18 in row["versions"])
    row = json.loads(json.dumps(row))
    assert f"ScatterElements-18 {what}" not in dict(row_findings(row))
    change(row)
    assert f"ScatterElements-18 {what}" in dict(row_findings(row))
