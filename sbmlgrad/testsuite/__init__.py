"""The SBML Test Suite as a judge of this package."""

from sbmlgrad.testsuite.stochastic import Case, CaseResult, Excursion, judge, read_case, run_cases

__all__ = ["Case", "CaseResult", "Excursion", "judge", "read_case", "run_cases"]
