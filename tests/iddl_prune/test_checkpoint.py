"""A saved model comes back equal; a folder that was cut short, altered or made by a newer version does not."""

import json
import os
import sys
import types
from hashlib import sha256

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

import iddl_prune
from iddl_prune import InvalidArgument, PruneError, pattern_layers, prune_
from iddl_prune.checkpoint import _digest, from_pretrained, save_pretrained
from iddl_prune.data import load
from iddl_prune.models import ModelSpec

SPEC = ModelSpec("mlp", 10, (1, 8, 8), hidden=(91, 80))


def sparse(design="bibd", spec=SPEC, **options):
    torch.manual_seed(0)
    model = spec.build()
    example = torch.zeros(2, *spec.input_shape)
    options = {"density": 0.2, "fit": spec.name == "mlp", **options}
    plan = iddl_prune.plan(model, example, design=design, **options)
    return prune_(model, plan).eval(), plan


@pytest.fixture
def folder(tmp_path):
    model, plan = sparse()
    return save_pretrained(model, tmp_path / "deep" / "net", plan=plan, model_spec=SPEC)


@pytest.mark.parametrize("design", ["bibd", "random"])
@pytest.mark.parametrize("spec", [SPEC, ModelSpec("resnet18", 4, (3, 8, 8))], ids=["mlp", "resnet18"])
def test_a_saved_model_comes_back_equal(design, spec, tmp_path):
    model, plan = sparse(design, spec)
    assert plan.layers
    save_pretrained(model, tmp_path, plan=plan, model_spec=spec)
    back = from_pretrained(tmp_path)
    inputs = torch.randn(3, *spec.input_shape)
    assert torch.equal(back(inputs), model(inputs))
    assert not back.training
    assert {n: layer.pattern.digest for n, layer in pattern_layers(back).items()} == {
        n: layer.pattern.digest for n, layer in pattern_layers(model).items()
    }


@pytest.mark.parametrize(
    ("options", "cells", "most"),
    [
        ({"density": 0.25, "edge": 1}, (1, 85), 1.1),
        ({"density": 0.14, "edge": 1}, (1, 51), 1.12),
        ({"density": 0.25, "edge": 1, "cells": False}, (1, 1), 1.03),
        ({"density": 0.125, "cells": False}, (1, 1), 1.03),
        # Six and a half to ten bits tell an edge of which of the graphs on 12 or 21 points an output has.
        ({"density": 0.04, "edge": 1}, (1, 24), 1.18),
        ({"density": 0.09, "edge": 1}, (1, 41), 1.14),
    ],
)
def test_sparse_layers_take_the_bytes_of_their_weights(options, cells, most, tmp_path):
    spec = ModelSpec("mlp", 10, (1, 28, 28), hidden=(512, 512))
    model, plan = sparse(spec=spec, starts=1, **options)
    assert plan.layers.keys() == {"1", "3"}
    assert plan.layers["3"].cells == cells
    assert all(layer.in_order for layer in plan.layers.values())
    folder = save_pretrained(model, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    written = sum(path.stat().st_size for path in folder.iterdir())
    of_the_classifier = 4 * sum(p.numel() for p in model[5].parameters())
    layers = pattern_layers(model).values()
    kept = sum(4 * (layer.pattern.density * layer.to_dense().weight.numel() + len(layer.bias)) for layer in layers)
    assert written - of_the_classifier <= most * kept
    inputs = torch.randn(3, *spec.input_shape)
    assert torch.equal(from_pretrained(folder)(inputs), model(inputs))


@pytest.mark.parametrize("design", ["bibd", "random"])
@pytest.mark.parametrize(
    "options",
    [
        {"density": 0.25, "edge": 1},  # all pairs of points are blocks: their names say all
        {"density": 0.4, "edge": 1},
        {"density": 0.3, "edge": 3},
        {"density": 0.2, "permutation": "groups"},
    ],
)
def test_any_order_comes_back(design, options, tmp_path):
    model, plan = sparse(design, **options)
    assert any(layer.points or layer.in_order for layer in plan.layers.values())
    back = from_pretrained(save_pretrained(model, tmp_path))
    inputs = torch.randn(3, *SPEC.input_shape)
    assert torch.equal(back(inputs), model(inputs))


def test_what_the_model_knows_of_itself_need_not_be_told(tmp_path):
    spec = ModelSpec("mlp", 10, (1, 8, 8), hidden=(91, 80))
    inputs = torch.randn(3, 1, 8, 8)
    model = iddl_prune.compress(spec.build(), inputs, density=0.2, calibration=inputs).eval()
    once = from_pretrained(save_pretrained(model, tmp_path / "once"))
    twice = from_pretrained(save_pretrained(once, tmp_path / "twice"))
    assert once.plan == twice.plan
    assert {name: layer.pattern().digest for name, layer in once.plan.layers.items()} == {
        name: layer.pattern().digest for name, layer in model.plan.layers.items()
    }
    assert once.spec == spec
    assert torch.equal(twice(inputs), model(inputs))
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()


@pytest.mark.parametrize(("attribute", "argument"), [("plan", "plan"), ("spec", "model_spec")])
def test_what_nobody_told_is_asked_for(attribute, argument, tmp_path):
    model, _ = sparse()
    delattr(model, attribute)
    with pytest.raises(InvalidArgument, match=f"'{argument}' must be a .*, for the model has none as its attribute"):
        save_pretrained(model, tmp_path)


def test_the_preprocessing_comes_back(tmp_path):
    model, _ = sparse()
    told = load("digits").preprocessing
    save_pretrained(model, tmp_path, preprocessing=told)
    assert from_pretrained(tmp_path).preprocessing == told
    change(tmp_path, lambda c: c["preprocessing"].update(mean=[0.1, 0.2]))
    with pytest.raises(PruneError, match=r"does not describe a model: Argument 'mean' must have 1 numbers"):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("form", [1, 2, 3])
@pytest.mark.parametrize("cells", [True, False])
def test_the_forms_before_are_read_too(form, cells, tmp_path):
    """Format 1 had the orders in the plan, and no preprocessing; 2 had them as tensors of numbers; 3 had no digest."""
    model, plan = sparse(cells=cells)
    folder = save_pretrained(model, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    orders = {
        (name, field): getattr(layer, field)
        for name, layer in plan.layers.items()
        for field in ("in_order", "out_order", "points", "blocks")
        if getattr(layer, field)
    }
    assert len(orders) == (8 if cells else 4)
    for name, field in orders if form < 3 else ():
        tensors.pop(f"{name}.{field}", None)
        if form == 2:
            tensors[f"{name}.{field}"] = torch.tensor(orders[name, field], dtype=torch.int16)
    save_file(tensors, folder / "model.safetensors")

    def older(config):
        config["format"] = form
        del config["digest"]
        if form == 1:
            del config["preprocessing"]
            for (name, field), order in orders.items():
                config["plan"]["layers"][name][field] = order
        config["weights"]["sha256"] = sha256((folder / "model.safetensors").read_bytes()).hexdigest()

    change(folder, older)
    again = from_pretrained(folder)
    inputs = torch.randn(3, 1, 8, 8)
    assert torch.equal(again(inputs), model(inputs))
    assert again.plan == plan or form == 3  # which tells things that are alike in their order, as it is written today


def test_the_description_can_be_read(folder):
    text = (folder / "config.json").read_text()
    config = json.loads(text)
    assert config["format"] == 4
    assert config["model"]["name"] == "mlp"
    assert max(map(len, text.splitlines())) < 1000
    _, plan = sparse()
    for name, layer in plan.layers.items():
        written = config["plan"]["layers"][name]
        assert (written["v"], written["k"], written["lam"]) == (layer.v, layer.k, layer.lam)
        assert config["patterns"][name]["digest"] == layer.pattern().digest
        assert config["patterns"][name]["recipe"]


def test_a_model_with_no_sparse_layer_is_saved_too(tmp_path):
    model = SPEC.build().eval()
    _, plan = sparse()
    save_pretrained(model, tmp_path, plan=type(plan)("bibd", 0.5, {}, {}), model_spec=SPEC)
    inputs = torch.randn(2, 1, 8, 8)
    assert torch.equal(from_pretrained(tmp_path)(inputs), model(inputs))


def test_loading_leaves_the_random_state_alone(folder):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    from_pretrained(folder)
    assert torch.equal(torch.rand(3), expected)


def test_a_plan_of_another_model_is_refused(tmp_path):
    model, plan = sparse()
    _, other = sparse("random")
    with pytest.raises(InvalidArgument, match=r"'plan' gives layer '1' another pattern"):
        save_pretrained(model, tmp_path, plan=other, model_spec=SPEC)
    with pytest.raises(InvalidArgument, match=r"'plan' must name the sparse layers of the model; '1' is in one"):
        save_pretrained(SPEC.build(), tmp_path, plan=plan, model_spec=SPEC)
    assert not list(tmp_path.iterdir())


def change(folder, edit):
    config = json.loads((folder / "config.json").read_text())
    edit(config)
    if "digest" in config:
        config["digest"] = _digest(config)
    (folder / "config.json").write_text(json.dumps(config))


def first_layer(config):
    return config["plan"]["layers"]["1"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.update(format=5), r"has format 5, of a newer version; this one reads up to 4: upgrade iddl"),
        (lambda c: c["plan"].update(format=99), r"does not describe a model: .*99"),
        (lambda c: c.pop("format"), r"does not describe a model of iddl"),
        (lambda c: c.pop("plan"), r"does not describe a model: 'plan'"),
        (lambda c: c["patterns"].pop("1"), r"does not describe a model: '1'"),
        (lambda c: c["model"].update(depth=3), r"does not describe a model: .*depth"),
        (lambda c: c["model"].update(num_classes=0), r"does not describe a model: .*num_classes"),
        (lambda c: c["model"].update(num_classes=11), r"'5.weight' has shape \(10, 80\), expected \(11, 80\)"),
        (lambda c: c["model"].update(hidden=[90, 80]), r"plans what its model does not have"),
        (
            lambda c: first_layer(c).update(edge=first_layer(c)["edge"] + 1),
            r"does not describe a model: .*'in_features' must give",
        ),
        (lambda c: first_layer(c).update(edge=0), r"does not describe a model|plans what its model"),
        (lambda c: first_layer(c).update(out_features=10**30), r"does not describe a model|plans what its model"),
        (lambda c: first_layer(c).update(taps=None), r"does not describe a model|plans what its model"),
        (
            lambda c: c["model"].update(num_classes=10**30),
            r"does not describe a model|plans what its model does not have",
        ),
        (lambda c: c.update(format=2), r"does not describe a model|plans what its model"),
        (lambda c: first_layer(c).update(seed=3), r"does not describe a model: 22 bytes tell no order of 45 numbers"),
        (
            lambda c: c["patterns"]["1"].update(digest="0"),
            r"is altered, .* the pattern of '1' has digest \w+, expected 0",
        ),
        (lambda c: first_layer(c).update(v=43, k=7), r"does not describe a model: .*43, 7"),
        (lambda c: first_layer(c).update(in_features=63), r"does not describe a model: .* bytes tell no order of 63"),
        (lambda c: c["weights"].update(sha256="0"), r"model.safetensors is cut short or altered"),
    ],
)
def test_an_altered_description_is_refused(edit, message, folder):
    change(folder, edit)
    with pytest.raises(PruneError, match=message):
        from_pretrained(folder)


@pytest.mark.parametrize(
    ("said", "instead"), [('"name": "mlp"', '"name": "MLP"'), ('"preprocessing": null', '"preprocessing": {}')]
)
def test_a_description_whose_digest_is_another_is_refused(said, instead, folder):
    path = folder / "config.json"
    assert said in path.read_text()
    path.write_text(path.read_text().replace(said, instead))
    with pytest.raises(PruneError, match=r"config.json is altered: it does not have the digest that it names"):
        from_pretrained(folder)


def test_a_description_too_deep_to_read_is_refused(folder):
    (folder / "config.json").write_text("[" * 100_000)
    with pytest.raises(PruneError, match=r"config.json is cut short or altered"):
        from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_cut_short_or_missing_is_refused(name, folder):
    whole = (folder / name).read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 3):
        (folder / name).write_bytes(whole[:length])
        with pytest.raises(PruneError, match=f"{name} is cut short or altered"):
            from_pretrained(folder)
    (folder / name).unlink()
    with pytest.raises(PruneError, match=f"{name} cannot be read: No such file"):
        from_pretrained(folder)


def test_weights_that_are_no_safetensors_are_refused(folder):
    (folder / "model.safetensors").write_bytes(b"weights")
    change(folder, lambda c: c["weights"].update(sha256=sha256(b"weights").hexdigest()))
    with pytest.raises(PruneError, match=r"model.safetensors is no safetensors file"):
        from_pretrained(folder)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_of_the_weights_goes_unseen(place, bit, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "flipped"
    if not folder.exists():
        model, plan = sparse()
        save_pretrained(model, folder, plan=plan, model_spec=SPEC)
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    altered = bytearray(whole)
    altered[int(place * len(whole))] ^= 1 << bit
    path.write_bytes(altered)
    try:
        with pytest.raises(PruneError, match=r"model.safetensors is cut short or altered"):
            from_pretrained(folder)
    finally:
        path.write_bytes(whole)


def test_a_write_cut_short_leaves_the_old_folder_whole(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    model, plan = sparse()
    with torch.no_grad():
        model[1].weight.zero_()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_pretrained(model, folder, plan=plan, model_spec=SPEC)
    assert {name: (folder / name).read_bytes() for name in before} == before
    from_pretrained(folder)


def test_a_factory_is_called_only_when_allowed(tmp_path, monkeypatch):
    called = []

    def factory():
        called.append(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 70), nn.ReLU(), nn.Linear(70, 10))

    module = types.ModuleType("homemade")
    module.factory = factory
    monkeypatch.setitem(sys.modules, "homemade", module)
    model, plan = sparse(spec=ModelSpec("homemade:factory", 10, (1, 8, 8)))
    save_pretrained(model, tmp_path, plan=plan, model_spec=ModelSpec("homemade:factory", 10, (1, 8, 8)))
    called.clear()
    with pytest.raises(PruneError, match=r"made by homemade:factory; .* allow_factory=True"):
        from_pretrained(tmp_path)
    assert not called
    inputs = torch.randn(2, 1, 8, 8)
    assert torch.equal(from_pretrained(tmp_path, allow_factory=True)(inputs), model(inputs))
