"""The command for PEtab problems, and for the test suite of the format."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sbmlgrad.cli_options import (
    DRAWS,
    EVENTS,
    STARTS,
    assignment,
    check_apart,
    check_outputs,
    debug_option,
    n_option,
    number,
    once,
    output_option,
    printable,
    seed_option,
)

if TYPE_CHECKING:
    from sbmlgrad.petab.evaluate import Evaluation
    from sbmlgrad.petab.fitted import PetabFit


@click.command()
@click.argument("problem", metavar="PROBLEM.yaml", required=False)
@click.option("--evaluate", "task", flag_value="evaluate", default=True, help="Simulate and compare (the default).")
@click.option("--fit", "task", flag_value="fit", help="Estimate the parameters.")
@click.option(
    "--starts",
    type=STARTS,
    default=20,
    show_default=True,
    help="Of a fit: how many starts are drawn between the bounds.",
)
@seed_option
@click.option(
    "--method",
    type=click.Choice(["ode", "ssa"]),
    default="ode",
    show_default=True,
    help="Rate equations, or means of exact stochastic simulation.",
)
@n_option(10_000, "Trajectories for each experiment, with --method ssa; of a fit, in each evaluation.")
@click.option(
    "--molecules-per-unit",
    type=number,
    metavar="NUMBER",
    help="Molecules in one unit of amount, whatever the units in the models say; with --method ssa.",
)
@click.option(
    *("--set", "changes"),
    type=assignment,
    multiple=True,
    metavar="ID=VALUE",
    help="A parameter's value, on the linear scale, in place of the nominal one.",
)
@click.option(
    "--max-events",
    type=EVENTS,
    default=1_000_000,
    show_default=True,
    metavar="NUMBER",
    help="Of a fit with --method ssa: how many reactions may fire in a trajectory; elsewhere a search does not go.",
)
@click.option("--profile", is_flag=True, help="Of a fit: take limits from profiles, which the report shows.")
@click.option(
    "--sample",
    type=DRAWS,
    metavar="NUMBER",
    help="Of a fit: draw so often from the posterior, into samples.csv of the report or beside --json.",
)
@output_option("--checkpoint", metavar="FILE", help_text="Of a fit: where the search is written to as it goes on.")
@click.option("--resume", is_flag=True, help="Go on from --checkpoint, if it is there.")
@click.option("--testsuite", "suite", metavar="DIR", help="Run the cases of the PEtab test suite in DIR instead.")
@output_option("--json", "json_output", metavar="JSON", help_text="Where the figures go as JSON.")
@output_option(
    "-o",
    "--output",
    metavar="DIR",
    help_text="A folder for simulations and, after a fit, parameters, model and report.",
)
@debug_option
def petab(
    problem: str | None,
    task: str,
    starts: int,
    seed: int,
    method: str,
    n: int,
    molecules_per_unit: float | None,
    max_events: int,
    changes: Sequence[tuple[str, float]],
    profile: bool,
    sample: int | None,
    checkpoint: str | None,
    resume: bool,
    suite: str | None,
    json_output: str | None,
    output: str | None,
) -> None:
    """Evaluate or fit a PEtab problem, version 1 or 2: how well its model explains its data.

    Evaluated at the nominal parameters, or fitted by maximum likelihood (times priors) from several starts; by rate
    equations or exact simulation. Exit status 1 if a case of the test suite fails.
    """
    if (problem is None) == (suite is None):
        raise click.UsageError("give either PROBLEM.yaml or --testsuite DIR")
    if suite is not None:
        _run_suite(suite)
        return
    assert problem is not None
    values = once("--set", changes)
    if task == "fit" and values:
        raise click.UsageError("--set is for evaluations; a fit takes what it does not estimate from the table")
    extra = _Extra(profile, sample, checkpoint, resume)
    extra.check(task == "fit", method, output, json_output)
    draws = extra.beside(output, json_output)
    check_outputs([problem], {"--json": json_output, "--checkpoint": checkpoint, "--sample": draws}, output, "-o")
    if output:
        _check_tables(problem, json_output, output, task == "fit")
    if task == "fit":
        options = {"starts": starts, "seed": seed, "method": method, "n": n, "max_events": max_events}
        _fit(problem, molecules_per_unit, options, extra, json_output, output)
        return
    import sbmlgrad as sg

    evaluation = sg.read_petab(problem, molecules_per_unit).evaluate(values, method=method, n=n, seed=seed)
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


def _check_tables(problem: str, json_output: str | None, output: str, fitted: bool) -> None:
    """Refuse a folder in which what is written would take the place of the problem's own files, or of each other."""
    text = Path(problem).read_text(encoding="utf-8", errors="replace") if os.path.isfile(problem) else ""
    named = {os.path.realpath(os.path.join(os.path.dirname(problem), name)) for name in re.findall(r"[^\s'\",]+", text)}
    for name in ["simulations.tsv", *(["parameters.tsv", "fitted.xml"] if fitted else [])]:
        target = os.path.realpath(os.path.join(output, name))
        if target in named:
            raise click.UsageError(f"-o: {name} of {problem!r} lies in {output!r}; name another folder")
        if json_output and os.path.realpath(json_output) == target:
            raise click.UsageError(f"--json: {json_output!r} is written by -o too; give another name")
    if fitted:
        check_apart([problem], {"--json": json_output}, os.path.join(output, "report"), "-o (report)")


@dataclass(frozen=True)
class _Extra:
    """What is asked of a fit beside estimates."""

    profile: bool
    sample: int | None
    checkpoint: str | None
    resume: bool

    def check(self, fitted: bool, method: str, output: str | None, json_output: str | None) -> None:
        """Refuse what cannot be had, before the work begins."""
        asked = {"--profile": self.profile, "--sample": self.sample is not None}
        first = next((option for option, given in asked.items() if given), None)
        if not fitted and (first or self.checkpoint or self.resume):
            raise click.UsageError(f"{first or '--checkpoint'}: is of a fit; say --fit")
        if first and method == "ssa":
            raise click.UsageError(f"{first}: is of fits by rate equations; leave --method ssa out")
        if self.resume and not self.checkpoint:
            raise click.UsageError("--resume: name the file to go on from with --checkpoint")
        if self.sample is not None and output is None and json_output is None:
            raise click.UsageError("--sample: draws go to the report of -o, or beside --json; name one of them")

    def beside(self, output: str | None, json_output: str | None) -> str | None:
        """Where draws go; None if that is in the report."""
        if self.sample is None or output:
            return None
        return os.path.join(os.path.dirname(json_output or ""), "samples.csv")


def _fit(
    problem: str,
    molecules_per_unit: float | None,
    options: Mapping[str, Any],
    extra: _Extra,
    json_output: str | None,
    output: str | None,
) -> None:
    """Fit, write what was asked for, and say what was found."""
    if output:
        from sbmlgrad.report.html import check_folder

        check_folder(os.path.join(output, "report"))
    import sbmlgrad as sg

    loaded = sg.read_petab(problem, molecules_per_unit)
    result = loaded.fit(progress=True, checkpoint=extra.checkpoint, resume=extra.resume, **options)
    if extra.profile:
        result = result.with_profile(result.profile(progress=True))
    if extra.sample is not None:
        result = result.with_posterior(result.sample(extra.sample, progress=True))
    written = result.write(output) if output else []
    draws = extra.beside(output, json_output)
    if draws and result.posterior is not None:
        from sbmlgrad.tables import write_table

        write_table(result.posterior.draws, draws)
        written.append(draws)
    if json_output:
        result.save_json(json_output)
        written.append(json_output)
    _report_fit(result)
    click.echo(printable(f"wrote {', '.join(written) if written else 'nothing; -o DIR writes the fitted problem'}"))
    for warning in result.warnings:
        click.echo(f"warning: {printable(f'{problem}: {warning}')}", err=True)


def _report_fit(result: PetabFit) -> None:
    table = result.parameters
    click.echo(table.to_string(float_format=lambda value: f"{value:.6g}"))
    columns = ["objective", "converged", "evaluations", "seconds", "message"]
    click.echo(printable(f"{result.message} ({result.loss_name} {result.objective:.6g}, {result.seconds:.1f} s)"))
    click.echo(result.starts[columns].to_string(float_format=lambda value: f"{value:.6g}", max_colwidth=60))
    click.echo(f"llh {result.llh:.10g}")
    click.echo(f"chi2 {result.chi2:.10g}")
    click.echo(f"goodness of fit: {', '.join(f'{name} {value:.6g}' for name, value in result.goodness.items())}")
    click.echo(printable(f"verdict: {result.verdict}"))


def _report(evaluation: Evaluation) -> None:
    click.echo(f"chi2 {evaluation.chi2:.10g}")
    click.echo(f"llh {evaluation.llh:.10g}")
    if evaluation.log_posterior is not None:
        click.echo(f"log posterior {evaluation.log_posterior:.10g} (up to a constant)")
    click.echo(f"{evaluation.n_data} measurements")
    if evaluation.stderr is not None:
        click.echo(f"largest standard error of a simulated mean {evaluation.stderr.max():.3g}")


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
