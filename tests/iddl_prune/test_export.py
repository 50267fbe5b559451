"""What is shipped gives the same answers wherever it runs."""

import onnxruntime
import pytest
import torch
from torch import nn

import bibdlib
import iddl_prune.export
from bibdlib.extras import MissingExtra
from iddl_prune import InvalidArgument, PruneError, SparsePattern, pattern_layers, to_dense
from iddl_prune.convert import connect_
from iddl_prune.export import FORMATS, FORMS, export, packed
from iddl_prune.inventory import inventory

SHAPE = (3, 9, 11)


class Mixed(nn.Module):
    """Uneven groups, a stride, a padding that is not zeros, no bias: what a converter may get wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 20, 3, stride=2, padding=1)
        self.second = nn.Conv2d(20, 26, 3, padding=1, padding_mode="reflect", bias=False)
        self.norm = nn.BatchNorm2d(26)
        self.third = nn.Conv2d(26, 31, (1, 3), stride=(2, 1), dilation=(1, 2))
        self.head = nn.Linear(31, 17)

    def forward(self, x):
        x = self.norm(self.second(torch.relu(self.first(x))))
        return self.head(self.third(torch.relu(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def mixed() -> nn.Module:
    torch.manual_seed(0)
    model = Mixed()
    designs = {"second": (20, 26, (13, 4, 1)), "third": (26, 31, (13, 4, 1)), "head": (31, 17, (4, 3, 2))}
    connect_(
        model, {name: SparsePattern.from_design(i, o, bibdlib.construct(*p)) for name, (i, o, p) in designs.items()}
    )
    nn.init.normal_(model.norm.running_mean)
    nn.init.uniform_(model.norm.running_var, 0.5, 2)
    return model.eval()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_gives_the_model_s_answers_for_any_batch(format, form, mixed, tmp_path):
    exported = export(mixed, tmp_path / "deep" / "net", SHAPE, format=format, form=form)
    assert exported.error < 1e-5
    assert exported.size_bytes == exported.path.stat().st_size
    assert [path.name for path in exported.path.parent.iterdir()] == ["net"]
    for n in (1, 2, 7):
        inputs = torch.randn(n, *SHAPE)
        torch.testing.assert_close(exported.run(inputs), mixed(inputs), rtol=1e-4, atol=1e-5)


def test_onnxruntime_reads_the_file_that_was_written(mixed, tmp_path):
    path = export(mixed, tmp_path / "net.onnx", SHAPE).path
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = torch.randn(4, *SHAPE)
    (outputs,) = session.run(None, {"input": inputs.numpy()})
    torch.testing.assert_close(torch.from_numpy(outputs), mixed(inputs), rtol=1e-4, atol=1e-5)


def test_the_packed_form_ships_the_kept_weights(tmp_path):
    model = nn.Sequential(nn.Linear(16, 768), nn.ReLU(), nn.Linear(768, 768))
    pattern = SparsePattern.from_design(768, 768, bibdlib.construct(31, 6, 1), edge=8)
    connect_(model, {"2": pattern})
    rest = 4 * (model[0].weight.numel() + 2 * 768)
    for format in FORMATS:
        shipped = {form: export(model, tmp_path / form, (16,), format=format, form=form).size_bytes for form in FORMS}
        assert shipped["packed"] - rest < 1.2 * pattern.density * (shipped["dense"] - rest), format


def test_wrong_answers_are_not_shipped(mixed, tmp_path, monkeypatch):
    def altered(model):
        spare = packed(model)
        with torch.no_grad():
            spare.norm.bias += 0.01
        return spare

    write, read = FORMATS["pt2"]
    monkeypatch.setitem(FORMATS, "pt2", (lambda model, inputs: write(altered(mixed), inputs), read))
    with pytest.raises(PruneError, match=r"net is not written: its outputs would deviate from the model's by"):
        export(mixed, tmp_path / "net", SHAPE, format="pt2")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_asked_for(mixed, tmp_path):
    with pytest.raises(InvalidArgument, match="'format' must be one of onnx, pt2, torchscript, not 'pickle'"):
        export(mixed, tmp_path / "net", SHAPE, format="pickle")
    with pytest.raises(InvalidArgument, match="'form' must be one of packed, dense, not 'sparse'"):
        export(mixed, tmp_path / "net", SHAPE, form="sparse")


def test_a_package_that_is_missing_is_named(mixed, tmp_path, monkeypatch):
    def missing(module, extra):
        raise MissingExtra(f"{module} {extra}")

    monkeypatch.setattr(iddl_prune.export, "load", missing)
    with pytest.raises(MissingExtra, match="onnxscript export"):
        export(mixed, tmp_path / "net", SHAPE)


def test_the_dense_twin_is_torch_alone_and_equal(mixed):
    twin = to_dense(mixed)
    assert not pattern_layers(twin)
    assert len(pattern_layers(mixed)) == 3
    assert {type(module).__module__.partition(".")[0] for module in twin.children()} == {"torch"}
    inputs = torch.randn(2, *SHAPE)
    torch.testing.assert_close(twin(inputs), mixed(inputs))
    layer = mixed.head
    assert isinstance(to_dense(layer), nn.Linear)


def test_the_inventory_counts_what_is_stored(mixed):
    entries = inventory(mixed)
    assert [entry.name for entry in entries] == ["first", "second", "norm", "third", "head"]
    state = mixed.state_dict().values()
    assert sum(entry.kept for entry in entries) == sum(tensor.numel() for tensor in state)
    assert sum(entry.size_bytes for entry in entries) == sum(tensor.nbytes for tensor in state)
    assert sum(entry.dense for entry in entries) == sum(t.numel() for t in to_dense(mixed).state_dict().values())
    second = entries[1]
    assert (second.kind, second.pattern, second.density) == ("BIBDConv2d", "(13, 4, 1)", mixed.second.pattern.density)
    assert entries[0].density == 1
