"""The command for PEtab problems, and for the test suite of the format."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from sbmlgrad.cli_options import assignment, check_outputs, debug_option, once, output_option, printable
from sbmlgrad.errors import SbmlgradError

if TYPE_CHECKING:
    from sbmlgrad.petab.evaluate import Evaluation


@click.command()
@click.argument("problem", metavar="PROBLEM.yaml", required=False)
@click.option("--evaluate", "task", flag_value="evaluate", default=True, help="Simulate and compare (the default).")
@click.option("--fit", "task", flag_value="fit", help="Estimate the parameters (not available yet).")
@click.option("--method", type=click.Choice(["ode", "ssa"]), default="ode", show_default=True, help="Rate equations.")
@click.option(
    *("--set", "changes"),
    type=assignment,
    multiple=True,
    metavar="ID=VALUE",
    help="A parameter's value, on the linear scale, in place of the nominal one.",
)
@click.option("--testsuite", "suite", metavar="DIR", help="Run the cases of the PEtab test suite in DIR instead.")
@output_option("--json", "json_output", metavar="JSON", help_text="Where chi2, llh and parameters go as JSON.")
@output_option("-o", "--output", metavar="DIR", help_text="Where simulations.tsv goes.")
@debug_option
def petab(
    problem: str | None,
    task: str,
    method: str,
    changes: Sequence[tuple[str, float]],
    suite: str | None,
    json_output: str | None,
    output: str | None,
) -> None:
    """Evaluate a PEtab problem, version 1 or 2: how well its model explains its data.

    At the nominal parameters, by rate equations. Exit status 1 if a case of the test suite fails.
    """
    if (problem is None) == (suite is None):
        raise click.UsageError("give either PROBLEM.yaml or --testsuite DIR")
    if suite is not None:
        _run_suite(suite)
        return
    assert problem is not None
    values = once("--set", changes)
    if task == "fit" or method == "ssa":
        what = "--fit is" if task == "fit" else "--method ssa is"
        raise SbmlgradError(f"{problem}: {what} not available yet for PEtab problems; leave it out to evaluate by ODE")
    check_outputs([problem], {"--json": json_output}, output, "-o")
    import sbmlgrad as sg

    evaluation = sg.read_petab(problem).evaluate(values)
    _report(evaluation)
    written = []
    if json_output:
        evaluation.save_json(json_output)
        written.append(json_output)
    if output:
        evaluation.write(output)
        written.append(os.path.join(output, "simulations.tsv"))
    if written:
        click.echo(printable(f"wrote {', '.join(written)}"))


def _report(evaluation: Evaluation) -> None:
    click.echo(f"chi2 {evaluation.chi2:.10g}")
    click.echo(f"llh {evaluation.llh:.10g}")
    if evaluation.log_posterior is not None:
        click.echo(f"log posterior {evaluation.log_posterior:.10g} (up to a constant)")
    click.echo(f"{evaluation.n_data} measurements")


def _run_suite(folder: str) -> None:
    """A line for each case, and how many there were of which kind."""
    from sbmlgrad.petab.suite import run_cases

    ended: Counter[str] = Counter()
    for result in run_cases(folder):
        click.echo(printable(f"{result.case} {result.status}: {result.detail}"))
        ended[result.status] += 1
    click.echo(f"{ended['passed']} passed, {ended['failed']} failed, {ended['skipped']} skipped")
    if ended["failed"]:
        raise click.exceptions.Exit(1)
