"""The command line: arguments in, the Python interface called, results and one-line errors out.

What takes time to import is imported inside the commands, so that help and usage errors come at once.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from sbmlgrad import __version__
from sbmlgrad.cli_errors import Commands
from sbmlgrad.cli_options import (
    DRAWS,
    POINTS,
    STARTS,
    Decorator,
    assignment,
    bounded,
    check_apart,
    check_outputs,
    debug_option,
    distributed_option,
    ids,
    jobs_option,
    max_events_option,
    n_option,
    named_formula,
    number,
    once,
    output_option,
    printable,
    seed_option,
)
from sbmlgrad.cli_petab import petab
from sbmlgrad.cli_testsuite import testcase, testsuite
from sbmlgrad.errors import SbmlgradWarning

if TYPE_CHECKING:
    import numpy
    import pandas

    from sbmlgrad.fitting.result import Fit
    from sbmlgrad.model.model import Model
    from sbmlgrad.simulation.result import Simulation

# ---- options that commands share -----------------------------------------------------------------------


def _together(*decorators: Decorator) -> Decorator:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


model_options = _together(
    click.argument("model", metavar="MODEL"),
    click.option(
        "--molecules-per-unit",
        type=number,
        metavar="NUMBER",
        help="Molecules in one unit of amount, whatever the units in the file say.",
    ),
    debug_option,
)
time_options = _together(
    click.option("--end", type=number, required=True, metavar="TIME", help="Last output time."),
    click.option(
        "--points",
        type=POINTS,
        required=True,
        metavar="NUMBER",
        help="Number of output times, equally spaced from start to end.",
    ),
    click.option("--start", type=number, default=0.0, show_default=True, metavar="TIME", help="First output time."),
)
method_option = click.option(
    "--method",
    type=click.Choice(["ssa", "ode"]),
    default="ssa",
    show_default=True,
    help="Exact stochastic simulation, or rate equations.",
)


# ---- the commands --------------------------------------------------------------------------------------


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sbmlgrad", message="%(prog)s %(version)s")
@debug_option
def main() -> None:
    """Simulate SBML models exactly, and calibrate them from data.

    MODEL is an SBML file, or an id of BioModels such as BIOMD0000000035. Exit status: 0 done, 2 wrong usage,
    1 any other error.
    """


@main.command()
@model_options
@click.option("--end", type=number, default=100.0, show_default=True, metavar="TIME", help="Count reactions to then.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--all", "every", is_flag=True, help="List everything, however long.")
def info(model: str, molecules_per_unit: float | None, end: float, as_json: bool, every: bool) -> None:
    """Say what is in MODEL, how it can be simulated, and what to look out for."""
    from sbmlgrad.info import as_text, describe

    facts = describe(model, molecules_per_unit, end)
    click.echo(json.dumps(facts.as_json(), indent=2) if as_json else as_text(facts, every))


@main.command()
@model_options
@time_options
@n_option(1000, "Number of trajectories; 1 gives the trajectory itself instead of mean and sd.")
@seed_option
@max_events_option
@jobs_option
@distributed_option
@method_option
@click.option("--set", "changes", type=assignment, multiple=True, metavar="ID=VALUE", help="Change a number of MODEL.")
@click.option("--select", type=ids, metavar="ID,[ID],...", help="What to look at: S amount, [S] concentration.")
@output_option("-o", "--output", metavar="CSV", help_text="Where the table or histogram goes; stdout if not given.")
@output_option("--plot", metavar="PNG", help_text="Draw the result: .png, .svg or .pdf.")
@output_option("--raw", metavar="CSV", help_text="Where single trajectories go: trajectory,time,S.")
@output_option("--snapshots", metavar="CSV", help_text="Where single cells go, others at each time: time,S.")
@click.option(
    "--histogram",
    "histograms",
    type=number,
    multiple=True,
    metavar="TIME",
    help="Write how many trajectories have which value at this time, instead of mean and sd.",
)
def simulate(
    model: str,
    molecules_per_unit: float | None,
    end: float,
    points: int,
    start: float,
    changes: Sequence[tuple[str, float]],
    output: str | None,
    plot: str | None,
    raw: str | None,
    snapshots: str | None,
    histograms: Sequence[float],
    distributed: bool,
    **options: Any,  # n, seed, max_events, method, select: handed on as they are
) -> None:
    """Simulate MODEL and write a table: time,S-mean,S-sd, or time,S for one trajectory.

    With --histogram it is time,observable,value,trajectories,share. What --raw and --snapshots write is read by fit.
    """
    times, parameters = _times(start, end, points), once("--set", changes)
    check_outputs([model], {"-o": output, "--plot": plot, "--raw": raw, "--snapshots": snapshots})
    if snapshots and options["method"] == "ode":
        raise click.UsageError("--snapshots are of single cells, and rate equations have none; leave out --method ode")
    times = _with_times(times, histograms)
    if plot:
        from sbmlgrad.report.plots import check_picture

        check_picture(plot)
    import sbmlgrad as sg
    from sbmlgrad.simulation.snapshots import snapshots as snapshot_table

    writes = _writes(distributed, options)
    loaded = sg.read_sbml(model, molecules_per_unit)
    options |= {"parameters": parameters, "start": start, "progress": writes}
    keep = True if raw or histograms else None
    result = sg.simulate(loaded, times, keep_counts=keep, **options)
    cells = snapshot_table(loaded, times, **options) if snapshots else None
    if not writes:
        return
    if plot:
        from sbmlgrad.report.plots import save_figure

        save_figure(result.plot(), plot)
    for table, path in ((result.trajectories() if raw else None, raw), (cells, snapshots)):
        if table is not None:
            _write_frame(table, path)
    _write_frame(_histograms(result, histograms) if histograms else result.to_table(), output)
    _warn(loaded)


def _writes(distributed: bool, options: Mapping[str, Any]) -> bool:
    """Find the other processes where there are to be any; whether this one is to write and print."""
    if not distributed:
        return True
    if options["method"] == "ode":
        raise click.UsageError("--distributed shares trajectories, and rate equations have none; leave out one of them")
    from sbmlgrad.simulation.processes import distribute, index
    from sbmlgrad.simulation.shares import check_enough

    distribute()
    check_enough(options["n"])
    if index():
        warnings.simplefilter("ignore", SbmlgradWarning)
    return index() == 0


def _with_times(times: numpy.ndarray, others: Sequence[float]) -> numpy.ndarray:
    """The output times, and others between the first and the last."""
    import numpy

    for time in others:
        if not times[0] <= time <= times[-1]:
            raise click.UsageError(f"--histogram {time:g} is not between --start {times[0]:g} and --end {times[-1]:g}")
    return numpy.union1d(times, others) if others else times


def _histograms(result: Simulation, times: Sequence[float]) -> pandas.DataFrame:
    import pandas

    return pandas.concat([result.histogram(time) for time in times], ignore_index=True)


@main.command()
@model_options
@time_options
@click.option(
    *("-p", "--parameter", "parameters"),
    type=ids,
    multiple=True,
    required=True,
    metavar="ID,...",
    help="Parameters to differentiate by.",
)
@n_option(10_000, "Number of trajectories.", least=2)
@seed_option
@max_events_option
@jobs_option
@distributed_option
@click.option(
    "--estimator",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="How derivatives are estimated: auto, controlled_score, score, alternative_path, coupled_fd, "
    "straight_through, straight_through_plain, propensity_straight_through, or exact.",
)
@click.option("--check", is_flag=True, help="Compare all estimators here instead: bias, standard error, cost, advice.")
@method_option
@output_option("-o", "--output", metavar="CSV", help_text="Where the table goes; stdout if not given.")
def sensitivity(
    model: str,
    molecules_per_unit: float | None,
    end: float,
    points: int,
    start: float,
    parameters: Sequence[tuple[str, ...]],
    check: bool,
    output: str | None,
    distributed: bool,
    **options: Any,  # n, seed, max_events, estimator, method: handed on as they are
) -> None:
    """Derivatives of the means of MODEL by parameters, with standard errors.

    Writes the table time,observable,parameter,sensitivity,stderr; with --check a table of estimators.
    """
    if check and options["method"] == "ode":
        raise click.UsageError("--check compares estimators of exact simulation; leave out --method ode")
    times = _times(start, end, points)
    names = list(once("-p", ((name, None) for group in parameters for name in group)))
    check_outputs([model], {"-o": output})
    import sbmlgrad as sg

    writes = _writes(distributed, options)
    loaded = sg.read_sbml(model, molecules_per_unit)
    if check:
        limits = {name: options[name] for name in ("n", "seed", "max_events")}
        comparison = sg.check(loaded, times, names, start=start, **limits)
        if not writes:
            return
        click.echo(str(comparison))
        if output:
            _write_frame(comparison.table.reset_index(), output)
        _warn(loaded, comparison.warnings)
        return
    result = sg.sensitivity(loaded, times, parameters=names, start=start, progress=writes, **options)
    if not writes:
        return
    _write_frame(result.table, output)
    if result.note:
        click.echo(f"note: {printable(result.note)}", err=True)
    _warn(loaded)


@main.command()
@model_options
@click.argument("data", nargs=-1, required=True, metavar="DATA.csv...")
@click.option(
    *("-p", "--parameter", "parameters"),
    type=bounded,
    multiple=True,
    required=True,
    metavar="ID[=LOWER:UPPER],...",
    help="Parameters to fit, and where they may be.",
)
@click.option("--init", type=assignment, multiple=True, metavar="ID=VALUE", help="Start here, not at MODEL's value.")
@click.option("--conditions", metavar="TABLE", help="What was done in each condition: condition, time, ids.")
@click.option(
    *("--observable", "observables"),
    type=named_formula,
    multiple=True,
    metavar="NAME=FORMULA",
    help="What a column of the data is, as a formula of ids.",
)
@click.option(
    "--noise",
    type=named_formula,
    multiple=True,
    metavar="NAME=FORMULA",
    help="The standard deviation of single values of NAME, or a law: lognormal(s), laplace(b), poisson, binomial(p), "
    "negative_binomial(size).",
)
@n_option(2000, "Number of trajectories in a step.", least=20)
@seed_option
@max_events_option
@jobs_option
@distributed_option
@method_option
@click.option("--init-from", type=click.Choice(["ode"]), help="Start where a fit of the rate equations ends.")
@click.option(
    "--cells",
    type=click.Choice(["independent", "followed"]),
    default="independent",
    show_default=True,
    help="Whether moments at different times are of other cells, or of the same ones.",
)
@click.option(
    "--loss",
    type=click.Choice(["auto", "moments", "histograms", "projection", "linear_noise", "particles", "dwells"]),
    default="auto",
    show_default=True,
    help="How exact simulation is matched: by moments, histograms, or the likelihood.",
)
@click.option(
    "--starts",
    type=STARTS,
    default=1,
    show_default=True,
    help="Fit from so many start values within the bounds; the best end counts.",
)
@output_option("--checkpoint", metavar="FILE", help_text="Where the search is written to as it goes on.")
@click.option("--resume", is_flag=True, help="Go on from --checkpoint, if it is there.")
@click.option("--profile", is_flag=True, help="Take limits from profiles, which the report shows.")
@click.option(
    "--sample",
    type=DRAWS,
    metavar="NUMBER",
    help="Draw so often from the posterior, into samples.csv of the report or beside --json.",
)
@output_option("-o", "--output", metavar="XML", help_text="Where the fitted model goes.")
@output_option("--report", metavar="DIR", help_text="Where a report with pictures goes.")
@output_option("--json", "json_output", metavar="JSON", help_text="Where the estimates go as JSON.")
def fit(
    model: str,
    molecules_per_unit: float | None,
    data: Sequence[str],
    parameters: Sequence[Sequence[tuple[str, tuple[float, float] | None]]],
    init: Sequence[tuple[str, float]],
    conditions: str | None,
    observables: Sequence[tuple[str, str]],
    noise: Sequence[tuple[str, str]],
    profile: bool,
    sample: int | None,
    output: str | None,
    report: str | None,
    json_output: str | None,
    distributed: bool,
    **options: Any,  # n, seed, max_events, method, init_from, cells, loss, starts, checkpoint, resume: handed on
) -> None:
    """Fit parameters of MODEL to the measurements in DATA.csv.

    DATA.csv holds trajectories (time,S), snapshots of single cells (rows that share a time) or moments
    (time,S-mean,S-sd); a column condition tells experiments apart. The estimates are printed, with how well the model
    fits; the fitted model, a report and JSON are written where asked for.
    """
    bounds = once("-p", (pair for group in parameters for pair in group))
    begin, formulas = once("--init", init), once("--observable", observables)
    draws = None if sample is None else _beside(report, json_output)
    files = {"-o": output, "--json": json_output, "--checkpoint": options["checkpoint"], "--sample": draws}
    inputs = [model, *data, *([conditions] if conditions else [])]
    check_outputs(inputs, files, report)
    if options["resume"] and not options["checkpoint"]:
        raise click.UsageError("--resume: name the file to go on from with --checkpoint")
    if report:
        from sbmlgrad.report.html import check_folder

        check_apart(inputs, files, report)
        check_folder(report)
    import sbmlgrad as sg

    writes = _writes(distributed, options)
    loaded = sg.read_sbml(model, molecules_per_unit)
    result = sg.fit(
        loaded,
        list(data),
        parameters=bounds,
        conditions=conditions,
        observables=formulas,
        noise=once("--noise", noise),
        init=begin,
        progress=writes,
        **options,
    )
    if profile:
        result = result.with_profile(result.profile(progress=writes))
    if sample is not None:
        result = result.with_posterior(result.sample(sample, progress=writes))
    if not writes:
        return
    written = _write_fit(result, output, report, json_output, draws)
    click.echo(result.parameters.to_string(float_format=lambda value: f"{value:.6g}"))
    click.echo(printable(f"{result.message} ({result.loss_name} {result.loss:.6g}, {result.seconds:.1f} s)"))
    click.echo(f"goodness of fit: {', '.join(f'{name} {value:.6g}' for name, value in result.goodness.items())}")
    click.echo(f"wrote {', '.join(written) if written else 'nothing; -o fitted.xml writes the fitted model'}")
    _warn(loaded, result.warnings)


main.add_command(petab)
main.add_command(testsuite)
main.add_command(testcase)


@main.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--peers", is_flag=True, help="Measure other simulators that are installed, too.")
@output_option("-o", "--output", metavar="JSON", help_text="Where the numbers go as JSON.")
@click.option("--against", metavar="JSON", help="Compare with an earlier run, as -o wrote it.")
@debug_option
def benchmark(models: Sequence[str], peers: bool, output: str | None, against: str | None) -> None:
    """Measure the speed of simulation and of gradients on MODELs."""
    check_outputs(models, {"-o": output})
    from sbmlgrad.benchmark.run import run_benchmark

    run_benchmark(list(models), peers=peers, output=output, against=against)


# ---- inputs and outputs --------------------------------------------------------------------------------


def _times(start: float, end: float, points: int) -> numpy.ndarray:
    if not start < end:
        raise click.UsageError(f"--end {end:g} must be later than --start {start:g}")
    import numpy

    return numpy.linspace(start, end, points)


def _write_frame(frame: pandas.DataFrame, path: str | None) -> None:
    if path is None:
        click.echo(frame.to_csv(index=False, lineterminator="\n"), nl=False)
        return
    from sbmlgrad.tables import write_table

    write_table(frame, path)


def _beside(report: str | None, json_output: str | None) -> str | None:
    """Where draws go; None if that is in the report."""
    if report is None and json_output is None:
        raise click.UsageError("--sample: draws go to the --report, or beside --json; name one of them")
    return None if report else os.path.join(os.path.dirname(json_output or ""), "samples.csv")


def _write_fit(
    result: Fit, output: str | None, report: str | None, json_output: str | None, draws: str | None
) -> list[str]:
    """Write what was asked for; returns the names of what was written."""
    if output:
        result.save(output)
    if report:
        result.report(report)
    if json_output:
        result.save_json(json_output)
    if draws:
        from sbmlgrad.tables import write_table

        assert result.posterior is not None
        write_table(result.posterior.draws, draws)
    return [path for path in (output, report, json_output, draws) if path]


def _warn(model: Model, more: Iterable[str] = ()) -> None:
    """What was taken for granted about a model, once the result is there."""
    for warning in (*model.elements.warnings, *more):
        click.echo(f"warning: {printable(f'{model.elements.source.path}: {warning}')}", err=True)
