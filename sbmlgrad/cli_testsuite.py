"""The commands that run the SBML Test Suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from sbmlgrad.cli_options import check_outputs, debug_option, n_option, output_option, printable, seed_option


@click.command()
@click.argument("cases_dir", metavar="CASES_DIR")
@click.option("--case", "cases", multiple=True, metavar="00001", help="Run this case; all if not given.")
@n_option(10_000, "Number of trajectories in a stochastic case.", least=2)
@seed_option
@click.option(
    "--limit",
    type=click.FloatRange(0, min_open=True),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="A semantic case that takes longer has failed.",
)
@output_option("-o", "--output", metavar="CSV", help_text="Where the results go as a table.")
@debug_option
def testsuite(cases_dir: str, cases: Sequence[str], n: int, seed: int, limit: float, output: str | None) -> None:
    """Run cases of the SBML Test Suite, a line for each, and count them.

    CASES_DIR holds the folders 00001, 00002, ... Semantic cases are simulated with rate equations, stochastic
    ones exactly. Exit status 1 if a case fails.
    """
    check_outputs([], {"-o": output})
    import sbmlgrad as sg
    from sbmlgrad.testsuite import run_cases, summary, write_results

    results = []
    for result in run_cases(cases_dir, cases or None, n, seed, sg.simulate, limit):
        click.echo(printable(f"{result.case} {result.status}: {result.detail}"))
        results.append(result)
    if output:
        write_results(results, output)
    semantic = [result for result in results if result.kind == "semantic"]
    if len(semantic) > 1:
        click.echo("\n".join(["", *summary(semantic), ""]))
    ended = Counter(result.status for result in results)
    click.echo(f"{ended['passed']} passed, {ended['failed']} failed, {ended['skipped']} skipped")
    if ended["failed"]:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("cases_dir", metavar="CASES_DIR")
@click.argument("case")
@click.argument("output")
@click.argument("level", type=click.IntRange(1))
@click.argument("version", type=click.IntRange(1))
@debug_option
def testcase(cases_dir: str, case: str, output: str, level: int, version: int) -> None:
    """Simulate one semantic case for the SBML Test Runner.

    Writes OUTPUT/CASE.csv from the model of this SBML LEVEL and VERSION in CASES_DIR/CASE. In the preferences of
    the Test Runner, define a wrapper with the full path of sbmlgrad as its program and these arguments:

    \b
        testcase %d %n %o %l %v

    so that sbmlgrad testcase %d %n %o %l %v is what it calls for each case.
    """
    path = Path(output, f"{case}.csv")
    check_outputs([], {"OUTPUT": str(path)})
    import sbmlgrad as sg
    from sbmlgrad.testsuite import case_folders, write_course

    path.unlink(missing_ok=True)  # values of an earlier run must not be taken for those of one that fails
    (folder,) = case_folders(cases_dir, [case])
    write_course(folder, path, (level, version), sg.simulate)
