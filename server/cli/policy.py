"""`htsgate policy`: what a policy says, before and after it is in force.

Exit status: `check` 0 when it can be used; `explain` 0 when it allows; `test` 0 when every
expectation holds; `diff` 0 when nobody gains or loses anything; else 1. 2: a file cannot be used.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions of the command and what they take."""
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    check = actions.add_parser("check", help="say whether a policy can be used, and what is odd")
    check.add_argument("policy", type=Path, metavar="FILE", help="TOML or JSON")
    explain = actions.add_parser("explain", help="who may see what, step by step")
    _add_explain(explain)
    test = actions.add_parser("test", help="ask what the policy's [[expect]] tables expect")
    test.add_argument("policy", type=Path, metavar="FILE", help="TOML or JSON")
    test.add_argument(
        "--cases", type=Path, metavar="FILE", help="[[expect]] tables of another file, too"
    )
    diff = actions.add_parser("diff", help="who gains or loses which bases")
    diff.add_argument("old", type=Path, metavar="OLD", help="the policy before")
    diff.add_argument("policy", type=Path, metavar="NEW", help="the policy after")
    for each in (check, explain, test, diff):
        each.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(command=_policy)


def _add_explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", metavar="SUBJECT", help="ISSUER|SUB, or anonymous")
    parser.add_argument("id", metavar="ID", help="object id, as in a URL")
    parser.add_argument(
        "region", metavar="REGION", help="as samtools writes it, * for unplaced reads, or all"
    )
    parser.add_argument("--policy", type=Path, metavar="FILE", required=True, help="TOML or JSON")
    parser.add_argument(
        "--visa",
        action="append",
        default=[],
        metavar="TYPE[=VALUE] [source=URL] [by=WHO]",
        help="a visa that is held, in one argument; what is left out is as the policy names it",
    )
    parser.add_argument(
        "--claim", action="append", default=[], metavar="NAME=VALUE", help="a claim of the token"
    )
    parser.add_argument("--client", default="", metavar="ID", help="the program's client id")
    parser.add_argument("--peer", default="", metavar="ADDRESS", help="where the request is from")
    parser.add_argument("--endpoint", choices=("reads", "variants", "refget"), default="reads")
    parser.add_argument("--format", type=str.upper, help="BAM or VCF by default")
    parser.add_argument("--class", dest="data_class", choices=("header", "body"), default="body")
    parser.add_argument(
        "--dataset", action="append", default=[], metavar="ID", help="that its location names"
    )
    parser.add_argument("--at", metavar="TIME", help="date or date-time (now)")


def _policy(options: argparse.Namespace) -> int:
    from server.cli import policy_actions  # when it runs: a server has no need of rich

    return policy_actions.run(options)
