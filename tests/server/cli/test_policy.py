"""`htsgate policy`, as custodians call it."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from server.cli.policy import add_arguments
from server.config import ConfigurationError
from tests.support.policies import DATASET, OPEN, POLICY, grant, head, write_policy

REGION = "chr2:5001-6000"


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = parser.parse_args([str(each) for each in arguments])
    status: int = options.command(options)
    return status


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return write_policy(tmp_path)


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    status = run(*arguments, "--json")
    return status, json.loads(capsys.readouterr().out)


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    status = run(*arguments)
    return status, capsys.readouterr().out


def test_check(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = told(capsys, "check", policy)
    assert status == 0
    assert found["usable"]
    assert (found["datasets"], found["grants"], found["denials"]) == (2, 5, 1)
    assert found["panels"] == {"genes": 2100, "hidden": 10}
    assert found["restricted"] == {DATASET: "participants can withdraw from the dataset"}
    notes = {(each["about"], each["message"]) for each in found["notes"]}
    assert ("grant G-MASKED", "DUO:0000025 of its dataset asks for valid.until") in notes
    assert any(
        about == "grant G-MASKED" and "fields, tags_deny, boundary" in text for about, text in notes
    )
    assert any(about == "grant G-TEAM" and "no expectation" in text for about, text in notes)
    status, text = shown(capsys, "check", policy)
    assert status == 0
    assert "usable: 2 datasets, 5 grants, 1 denial, 4 expectations, sha256:" in text


@pytest.mark.security("TS5")
def test_check_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = write_policy(tmp_path, POLICY.replace("custodian", "custodain"))
    status, found = told(capsys, "check", policy)
    assert (status, found["usable"]) == (1, False)
    assert "nearest is custodian" in found["error"]
    status, text = shown(capsys, "check", policy)
    assert status == 1
    assert text.startswith("refused: custodain")
    assert run("check", tmp_path / "none.toml") == 1


@pytest.mark.parametrize(
    ("rules", "about", "message"),
    [
        ("", "dataset D", "no grant"),
        (grant("G", who=""), "grant G", "it is for nobody"),
        (grant("G", ["chr1:1-9"]), "dataset D", "bound to no collection"),
        (grant("G", what='formats = ["VCF"]'), "grant G", "no format of reads"),
        (grant("G", rest="[grant.valid]\nuntil = 2020-01-01"), "grant G", "ended on 2020-01-01"),
        (grant("G", how='mode = "header"'), "grant G", "gives no records"),
        (
            grant("G", who='any_of = [{ claim = "a", contains = "b" }]'),
            "grant G",
            "of any issuer",
        ),
        (
            grant("G", who='any_of = [{ visa = "ResearcherStatus", value = "x" }]'),
            "grant G",
            "registered access only with",
        ),
        (
            grant("G", ["chr1:1-9"])
            + '[[deny]]\nid = "X"\ndataset = "D"\nregions = ["chr1:1-20"]\n',
            "grant G",
            "denials leave nothing",
        ),
        (
            grant("G") + '[[deny]]\nid = "X"\ndataset = "D"\nsamples = ["S"]\n',
            "deny X",
            "nothing of the dataset",
        ),
    ],
)
def test_notes(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rules: str,
    about: str,
    message: str,
) -> None:
    _, found = told(capsys, "check", write_policy(tmp_path, head() + rules))
    assert any(each["about"] == about and message in each["message"] for each in found["notes"])


@pytest.mark.parametrize(
    ("term", "who", "until", "warned"),
    [
        ("0000045", 'any_of = [{ iss = "a", sub = "b" }]', False, True),
        ("0000045", 'any_of = [{ visa = "AffiliationAndRole", value = "*@u" }]', False, False),
        ("0000018", 'any_of = [{ visa = "AcceptedTermsAndPolicies", value = "u" }]', False, False),
        ("0000026", 'any_of = [{ iss = "a", sub = "b" }]', False, False),
        ("0000026", "public = true", False, True),
        ("0000028", 'any_of = [{ iss = "a", sub = "b" }]', False, True),
        ("0000022", 'networks = ["10.0.0.0/8"]\npublic = true', False, False),
        ("0000022", "public = true", False, True),
        ("0000025", "public = true", False, True),
        ("0000025", "public = true", True, False),
        ("0000021", "public = true", False, True),
        ("0000006", "public = true", False, True),
        ("0000006", 'any_of = [{ iss = "a", sub = "b" }]', False, False),
        ("0000027", "public = true", False, False),
        ("9999999", "public = true", False, True),
    ],
)
def test_terms_of_use(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    term: str,
    who: str,
    until: bool,
    warned: bool,
) -> None:
    rest = "[grant.valid]\nuntil = 2099-01-01" if until else ""
    text = head(more=f'duo = ["DUO:{term}"]') + grant("G", who=who, rest=rest)
    _, found = told(capsys, "check", write_policy(tmp_path, text))
    assert any("DUO:" in each["message"] for each in found["notes"]) is warned


def test_explain(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    who = "https://login.example/|me"
    common = ("--policy", policy, "--at", "2026-06-01")
    holder = ("--visa", f"ControlledAccessGrants={DATASET}", "--client", "igv")
    status, found = told(
        capsys, "explain", who, "heart/a", REGION, *common, *holder, "--peer", "10.20.0.1"
    )
    assert status == 0
    assert (found["outcome"], found["rule"]) == ("allow", "allow.group")
    assert found["grants"] == ["G-GENES"]
    assert "chr3:101-150" in found["permitted"]
    assert found["steps"][-1] == "allow: allow.group"
    status, text = shown(
        capsys, "explain", who, "heart/a", REGION, *common, *holder, "--peer", "10.20.0.1"
    )
    assert status == 0
    assert "G-GENES" in text
    status, found = told(
        capsys, "explain", who, "heart/a", REGION, *common, *holder, "--peer", "10.21.0.1"
    )
    assert (status, found["outcome"]) == (1, "not_found")
    wrong = ("--visa", f"ControlledAccessGrants={DATASET} source=https://other.example by=dac")
    status, found = told(
        capsys, "explain", who, "heart/a", REGION, *common, *wrong, *holder[2:], "--peer",
        "10.20.0.1",
    )  # fmt: skip
    assert (status, found["outcome"]) == (1, "not_found")
    masked = ("--visa", f"ControlledAccessGrants={DATASET}/masked")
    status, found = told(capsys, "explain", who, "heart/a", REGION, *common, *masked)
    assert (status, found["rule"]) == (1, "projection.unsupported")
    assert found["unsupported"] == ["fields", "tags_deny", "boundary"]


def test_explain_more(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("--policy", policy, "--at", "2026-06-01T12:00:00Z")
    status, found = told(capsys, "explain", "anonymous", "open/a", "all", *common)
    assert (status, found["rule"], found["permitted"]) == (0, "allow.public", ["all", "*"])
    status, found = told(capsys, "explain", "anonymous", "heart/a", "all", *common)
    assert (status, found["outcome"]) == (1, "unauthenticated")
    browser = ("explain", "https://login.example/|browser")
    status, found = told(
        capsys, *browser, "variants/heart/joint", "chr1", "--endpoint", "variants", *common
    )
    assert (status, found["clipped"]) == (0, True)
    assert "chr1:1001-2000" in found["permitted"]
    status, text = shown(capsys, *browser, "heart/a", "chr1", *common)
    assert status == 0
    assert "the file is cut and marked" in text
    located = ("--dataset", OPEN)
    assert run("explain", "anonymous", "elsewhere", "*", *located, *common) == 0
    assert run("explain", "https://login.example/|clinician", "heart/a", "*", *common) == 0
    assert run("explain", "anonymous", "open/a", "all", "--class", "header", *common) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("somebody", "heart/a", REGION),
        ("anonymous", "heart/a", "chr1:5"),
        ("anonymous", "heart/a", REGION, "--client", "igv"),
        ("a|b", "heart/a", REGION, "--claim", "groups"),
        ("a|b", "heart/a", REGION, "--visa", "=x"),
        ("a|b", "heart/a", REGION, "--visa", "T=x sauce=y"),
        ("a|b", "heart/a", REGION, "--at", "tomorrow"),
    ],
)
def test_what_cannot_be_explained(policy: Path, arguments: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError):
        run("explain", *arguments, "--policy", policy)


def test_test(policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = told(capsys, "test", policy)
    assert (status, found["failed"], len(found["cases"])) == (0, 0, 4)
    wrong = write_policy(tmp_path, POLICY.replace('"not_found"', '"deny"'), "wrong.toml")
    status, found = told(capsys, "test", wrong)
    assert (status, found["failed"]) == (1, 1)
    assert found["cases"][2]["found"] == "not_found"
    status, text = shown(capsys, "test", wrong)
    assert status == 1
    assert "4 expectations, 1 failed" in text
    cases = tmp_path / "cases.toml"
    cases.write_text(
        """[[expect]]
at = 2026-06-01T00:00:00Z
subject = { iss = "https://login.example/", sub = "clinician" }
request = { endpoint = "reads", object = "heart/a", format = "BAM", regions = ["chr1", "*"] }
outcome = "allow:G-TEAM"
[[expect]]
at = 2027-06-01
subject = { iss = "https://login.example/", sub = "clinician" }
request = { endpoint = "reads", object = "heart/a", format = "BAM", class = "header" }
outcome = "allow:G-TEAM"
"""
    )
    status, found = told(capsys, "test", policy, "--cases", cases)
    assert (status, found["failed"]) == (1, 1)
    assert found["cases"][-1]["found"] == "not_found"
    with pytest.raises(ConfigurationError):
        run("test", tmp_path / "none.toml")


def changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str
) -> tuple[int, Any]:
    before = write_policy(tmp_path, old, "old.toml")
    return told(capsys, "diff", before, write_policy(tmp_path, new, "new.toml"))


def test_diff_of_the_same_rights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = changes(tmp_path, capsys, POLICY, POLICY)
    assert (status, found["changes"], found["datasets"]) == (0, [], {})
    one = head() + grant("A", ["chr1:1-20"])
    other = head() + grant("C", ["chr1:11-20"]) + grant("B", ["chr1:1-10"])
    status, found = changes(tmp_path, capsys, one, other)
    assert (status, found["changes"]) == (0, [])
    assert found["old"] != found["new"]
    assert "nobody gains" in shown(capsys, "diff", tmp_path / "old.toml", tmp_path / "new.toml")[1]


def test_diff_says_who_gains_and_loses_which_bases(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = "[grant.limits]\nbases_per_day = 5"
    old = head() + grant("A", ["chr1:1-20"]) + grant("B", sub="b", rest=limits)
    new = (
        head('["reads/d/*"]')
        + '[[deny]]\nid = "X"\ndataset = "D"\nregions = ["chr1:5-6"]\nexcept_for = ["B"]\n'
        + grant("A", ["chr1:1-15", "chr2:1-3"])
        + grant("B", sub="b", rest=limits.replace("5", "6"))
        + grant("N", sub="n", what='classes = ["header"]')
    )
    status, found = changes(tmp_path, capsys, old, new)
    assert status == 1
    assert found["datasets"] == {"D": ["objects"]}
    by_grant = {each["grants"][0]: each for each in found["changes"]}
    assert by_grant["A"]["gained"] == {"bases": 3, "regions": ["chr2:1-3"]}
    assert by_grant["A"]["lost"] == {"bases": 7, "regions": ["chr1:5-6", "chr1:16-20"]}
    assert by_grant["A"]["who"]["any_of"][0]["sub"] == "me"
    assert by_grant["B"]["terms"] == ["limits"]
    assert by_grant["B"]["gained"]["regions"] == []
    assert by_grant["N"]["terms"] == ["added"]
    status, text = shown(capsys, "diff", tmp_path / "old.toml", tmp_path / "new.toml")
    assert status == 1
    assert "7 bases: chr1:5-6, chr1:16-20" in text


def test_diff_of_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = changes(tmp_path, capsys, head() + grant("A"), head())
    (change,) = found["changes"]
    assert change["lost"] == {"bases": "any number of", "regions": ["all", "*"]}
    assert change["terms"] == ["removed"]
    denied = head() + grant("A") + '[[deny]]\nid = "X"\ndataset = "D"\nsamples = ["S"]\n'
    _, found = changes(tmp_path, capsys, head() + grant("A"), denied)
    assert [each["terms"] for each in found["changes"]] == [["unserved"]]
