"""A bank's certificate for people: a table of its checks, and lines about what else was measured."""

from __future__ import annotations

from rich.table import Table

from qhybrid.diffusion.certify import Certificate, Check


def certificate_table(certificate: Certificate) -> Table:
    """Lay out a certificate with a row per check: its name, value, allowed range and whether it passed."""
    table = Table("check", "value", "allowed", "", title=f"{certificate.source}, {certificate.numbers:,} numbers")
    for check in certificate.checks:
        table.add_row(check.name, f"{check.value:.5g}", _allowed(check), "passed" if check.passed else "FAILED")
    return table


def certificate_lines(certificate: Certificate) -> list[str]:
    """Say in a line each what was measured beside the checks, and last whether the bank keeps its claim."""
    measured = certificate.measured
    entropy = measured["min_entropy_per_bit"]
    of = "bit" if "bits" in measured else "sign bit (not claimed)"
    common, markov = entropy["most_common_value"], entropy["markov"]
    lines = [f"min-entropy per {of}: {common:.4f} (most common value), {markov:.4f} (Markov)"]
    if "law" in measured:
        law = measured["law"]
        lines.append(
            f"resolution: nothing lies beyond {law['largest']:.3f} standard deviations, where a normal number lies "
            f"with probability {law['missing_mass']:.2g}; kurtosis {law['kurtosis']:.4f} in place of 3"
        )
    else:
        lines.append(f"largest correlation within a patch (kept on purpose): {measured['spatial_correlation']:.3f}")
    failed = certificate.failed
    lines.append(f"fails its claim: {', '.join(failed)}" if failed else "keeps its claim")
    return lines


def _allowed(check: Check) -> str:
    low, high = (f"{bound:.4g}" if bound is not None else "" for bound in (check.low, check.high))
    if low and high:
        return f"{low} to {high}"
    return f"at most {high}" if high else f"at least {low}"
