import re
from pathlib import Path

import pytest
from PIL import Image
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

from qhybrid.commands import main as cli
from qhybrid.errors import CircuitError
from qhybrid.quantum.analysis.diagnosis import diagnose
from qhybrid.quantum.analysis.expressibility import measure_capability
from qhybrid.quantum.analysis.tables import output_table, parameter_table, save_picture, summary_lines
from qhybrid.quantum.circuits.ansatz import build_spec, published_spec
from qhybrid.quantum.circuits.spec import CircuitSpec


def rows(table: Table) -> list[list[str]]:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    console.file.close()
    lines = [line for line in console.export_text().splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_alike_neighbours_share_a_row() -> None:
    spec = build_spec("ry_rz_ladder", 4, 3)
    table = rows(parameter_table(spec, diagnose(spec, draws=4)))
    assert [row[:3] for row in table] == [
        ["x[0] to x[3]", "input", "ry"],
        *([f"w[{4 * k}] to w[{4 * k + 3}]", "weight", ("rz", "ry")[k % 2]] for k in range(6)),
    ]
    assert table[-1][4] == "1 to 4 of 4 outputs"


def test_dead_parameters_stand_apart() -> None:
    table = rows(parameter_table(published_spec(4), diagnose(published_spec(4), draws=4)))
    assert table[1] == ["w[0] to w[11]", "weight", "rz", "0", "nothing: dead, proven"]
    a = ParameterVector("a", 3)
    circuit = QuantumCircuit(1)
    for angle in (a[0], a[1], -a[1], a[2]):
        circuit.ry(angle, 0)
    spec = CircuitSpec("cancel", circuit, (), tuple(a), (SparsePauliOp("Z"),))
    table = rows(parameter_table(spec, diagnose(spec, draws=4)))
    assert [row[4] for row in table] == ["1 of 1 outputs", "nothing: dead", "1 of 1 outputs"]


def test_observables_are_written_out() -> None:
    w = ParameterVector("w", 1)
    circuit = QuantumCircuit(3)
    circuit.rx(w[0], 1)
    observables = (SparsePauliOp(["IZI", "XIY"], [1.0, -0.5]), SparsePauliOp("III"), SparsePauliOp(["ZZZ"] * 4))
    spec = CircuitSpec("labels", circuit, (), tuple(w), observables)
    labels = [row[1] for row in rows(output_table(spec, diagnose(spec, draws=2)))]
    assert labels == ["Z1 + -0.5 Y0 X2", "1", "Z0 Z1 Z2 + 3 more"]


def test_many_qubits_leave_expressibility_unresolved() -> None:
    spec = build_spec("real_amplitudes", 12, 1)
    lines = list(summary_lines(diagnose(spec, draws=2), measure_capability(spec, pairs=4)))
    assert any("not resolved" in line for line in lines)
    assert "inf" not in " ".join(lines)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_picture(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"circuit{suffix}"
    save_picture(build_spec("ry_rz_ladder", 2, 1), path)
    if suffix == ".png":
        with Image.open(path) as image:
            assert min(image.size) > 100
    else:
        assert "<svg" in path.read_text()
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_picture_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CircuitError, match=r"\.png, \.svg, \.pdf"):
        save_picture(build_spec("ry_rz_ladder", 2, 1), tmp_path / "circuit.doc")
    assert not list(tmp_path.iterdir())


def test_the_command_shows_what_a_device_leaves(root: Path, tmp_path: Path) -> None:
    picture = tmp_path / "circuit.png"
    arguments = ["inspect", str(root / "configs" / "quickstart.yaml"), "--set", "quantum.qubits=3", "--set"]
    arguments += ["quantum.layers=1", "--device", "fake_manila", "--picture", str(picture)]
    result = CliRunner().invoke(cli.app, arguments, env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    assert "fake_manila: circuit qubits on device qubits" in result.output
    left = [float(value) for value in re.findall(r"(\d+\.\d)%", result.output)]
    assert len(left) == 6
    assert all(50 < value < 100 for value in left)
    assert picture.exists()


def test_the_command_refuses_an_unknown_device(root: Path) -> None:
    result = CliRunner().invoke(
        cli.app, ["inspect", str(root / "configs" / "quickstart.yaml"), "--device", "fake_tori"]
    )
    assert isinstance(result.exception, CircuitError)
    assert "fake_torino" in str(result.exception)
