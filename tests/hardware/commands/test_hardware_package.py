"""The package's face."""

import subprocess
import sys


def test_public_names_are_functions_whatever_was_imported_before() -> None:
    import hardware.commands.main
    import hardware.jobs.job_log
    import hardware.placement.transpilation
    import hardware.runs.stages

    assert {"draw_noise", "fetch", "infer", "open_backend", "plan", "submit", "transpile"} < set(hardware.__all__)
    assert {"cancel", "close", "list_jobs", "wait"} < set(hardware.__all__)
    for name in hardware.__all__:
        assert callable(getattr(hardware, name)), name


def test_importing_the_package_or_its_commands_imports_nothing_heavy() -> None:
    code = (
        "import sys, hardware.commands.main;"
        "print([name for name in ('qiskit', 'torch', 'matplotlib') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.strip() == "[]"
