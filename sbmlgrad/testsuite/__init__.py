"""The SBML Test Suite as a judge of this package."""

from sbmlgrad.testsuite.cases import CaseResult, case_folders
from sbmlgrad.testsuite.run import run_cases, summary, write_results
from sbmlgrad.testsuite.semantic import write_course

__all__ = ["CaseResult", "case_folders", "run_cases", "summary", "write_course", "write_results"]
