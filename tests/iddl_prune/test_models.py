"""Models by name, and what a checkpoint's shapes tell about the model it belongs to."""

import sys
import types

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from iddl_prune import InvalidArgument, PruneError
from iddl_prune.models import ModelSpec, build, load_checkpoint, read_tensors


def small_resnet_tensors(stem="cifar", classes=7):
    torch.manual_seed(0)
    return build("resnet18", num_classes=classes, input_shape=(3, 32, 32), stem=stem).state_dict()


def test_the_mlp_flattens_and_has_the_widths_asked_for():
    mlp = build("mlp", num_classes=10, input_shape=(1, 28, 28))
    assert [tuple(p.shape) for p in mlp.parameters() if p.ndim == 2] == [(512, 784), (512, 512), (10, 512)]
    assert mlp(torch.zeros(3, 1, 28, 28)).shape == (3, 10)
    assert len(list(build("mlp", num_classes=2, input_shape=(1, 2, 2), hidden=()).parameters())) == 2


@pytest.mark.parametrize(
    ("shape", "stem", "kernel"),
    [((3, 32, 32), None, 3), ((3, 224, 224), None, 7), ((3, 32, 32), "imagenet", 7), ((3, 64, 64), "cifar", 3)],
)
def test_the_stem_follows_the_images_unless_named(shape, stem, kernel):
    model = build("resnet18", num_classes=5, input_shape=shape, stem=stem)
    assert model.conv1.kernel_size == (kernel, kernel)
    assert isinstance(model.maxpool, nn.Identity) == (kernel == 3)
    assert model.eval()(torch.zeros(1, *shape)).shape == (1, 5)


def test_torchvision_models_take_three_channels():
    spec = ModelSpec("resnet18", 10, (1, 8, 8))
    assert spec.input_shape == (3, 8, 8)
    assert ModelSpec("mlp", 10, (1, 8, 8)).input_shape == (1, 8, 8)


def test_the_cifar_stem_is_drawn_as_torchvision_draws_the_other_convolutions():
    torch.manual_seed(0)
    weight = build("resnet18", num_classes=2, input_shape=(3, 8, 8)).conv1.weight.detach()
    assert abs(float(weight.std()) - (2 / (64 * 9)) ** 0.5) < 0.005


@pytest.mark.parametrize("name", ["vgg11_bn", "mobilenet_v2", "densenet121", "googlenet", "squeezenet1_0"])
def test_other_torchvision_models(name):
    with torch.device("meta"):
        model = build(name, num_classes=4, input_shape=(3, 224, 224))
    assert 4 in list(model.parameters())[-1].shape


def test_a_factory_gets_what_it_asks_for(monkeypatch):
    module = types.ModuleType("somewhere")
    module.plain = lambda: nn.Linear(3, 2)
    module.asking = lambda num_classes, input_shape, scale=1: nn.Linear(input_shape[0], num_classes * scale)
    module.wrong = lambda: "a model"
    monkeypatch.setitem(sys.modules, "somewhere", module)
    assert build("somewhere:plain", num_classes=9, input_shape=(1, 1, 1)).out_features == 2
    asked = build("somewhere:asking", num_classes=9, input_shape=(5, 1, 1))
    assert (asked.in_features, asked.out_features) == (5, 9)
    with pytest.raises(InvalidArgument, match=r"must return a torch.nn.Module, not str"):
        build("somewhere:wrong", num_classes=9, input_shape=(1, 1, 1))
    for name in ("somewhere:absent", "nowhere:plain"):
        with pytest.raises(InvalidArgument, match=f"must be package.module:factory, not '{name}'"):
            build(name, num_classes=9, input_shape=(1, 1, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet19"}, r"'name' must be mlp, .* not 'resnet19'"),
        ({"num_classes": 0}, r"'num_classes' must hold positive integers, not 0"),
        ({"num_classes": True}, r"'num_classes' must hold positive integers, not True"),
        ({"input_shape": (3, 0, 8)}, r"'input_shape' must hold positive integers, not \(3, 0, 8\)"),
        ({"input_shape": (8, 8)}, r"'input_shape' must be \(channels, height, width\)"),
        ({"hidden": (512, 0.5)}, r"'hidden' must hold positive integers"),
        ({"stem": "stanford"}, r"'stem' must be 'cifar', 'imagenet' or None, not 'stanford'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    good = {"name": "mlp", "num_classes": 10, "input_shape": (3, 8, 8)}
    with pytest.raises(InvalidArgument, match=message):
        build(**{**good, **arguments})


def test_a_description_survives_json():
    spec = ModelSpec("resnet18", 10, (1, 32, 32), hidden=(8,), stem="cifar")
    assert ModelSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_stem_and_classes_are_read_off_the_file(stem, tmp_path):
    tensors = small_resnet_tensors(stem)
    save_file(tensors, tmp_path / "net.safetensors")
    model, spec = load_checkpoint(tmp_path / "net.safetensors", "resnet18", input_shape=(3, 32, 32))
    assert (spec.stem, spec.num_classes) == (stem, 7)
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in tensors.items())


@pytest.mark.parametrize("wrap", [None, "state_dict", "model"])
def test_hidden_widths_are_read_off_a_state_dict(wrap, tmp_path):
    hidden = tuple(range(3, 10))
    tensors = build("mlp", num_classes=4, input_shape=(1, 2, 3), hidden=hidden).state_dict()
    shuffled = {f"module.{key}": tensors[key] for key in sorted(tensors)}
    torch.save({wrap: shuffled, "epoch": 3} if wrap else shuffled, tmp_path / "net.pt")
    model, spec = load_checkpoint(tmp_path / "net.pt", "mlp", input_shape=(1, 2, 3))
    assert (spec.hidden, spec.num_classes) == (hidden, 4)
    assert torch.equal(model[1].weight, tensors["1.weight"])


def test_half_precision_loads_into_single(tmp_path):
    tensors = {key: tensor.half() for key, tensor in small_resnet_tensors().items() if "tracked" not in key}
    save_file(tensors, tmp_path / "half.safetensors")
    model, _ = load_checkpoint(tmp_path / "half.safetensors", "resnet18", input_shape=(3, 8, 8))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.fc.weight, tensors["fc.weight"].float())


def test_the_first_wrong_tensor_is_named_with_both_shapes(tmp_path):
    path = tmp_path / "net.safetensors"
    tensors = small_resnet_tensors()

    def refused(change, message):
        save_file({**tensors, **change}, path)
        with pytest.raises(PruneError, match=message):
            load_checkpoint(path, "resnet18", input_shape=(3, 32, 32))

    wrong = {"layer1.0.conv2.weight": torch.zeros(64, 32, 3, 3), "layer4.1.conv2.weight": torch.zeros(1)}
    refused(wrong, r"'layer1.0.conv2.weight' has shape \(64, 32, 3, 3\), expected \(64, 64, 3, 3\)")
    refused({"extra": torch.zeros(2)}, r"'extra' of shape \(2,\) is not in it")
    del tensors["layer2.0.bn1.weight"]
    refused({}, r"'layer2.0.bn1.weight' of shape \(128,\) is missing")


def test_classes_that_do_not_fit_the_data_are_refused(tmp_path):
    save_file(small_resnet_tensors(), tmp_path / "net.safetensors")
    with pytest.raises(PruneError, match="a model of 7 classes; 10 are needed"):
        load_checkpoint(tmp_path / "net.safetensors", "resnet18", input_shape=(3, 32, 32), num_classes=10)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_cut_short_is_refused(suffix, tmp_path):
    path = tmp_path / f"net{suffix}"
    tensors = {"weight": torch.zeros(100)}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    whole = path.read_bytes()
    for length in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(PruneError, match=r"may be cut short|without running code"):
            read_tensors(path)


def test_files_that_hold_no_tensors_are_refused(tmp_path):
    with pytest.raises(PruneError, match=r"There is no checkpoint .*absent.pt"):
        read_tensors(tmp_path / "absent.pt")
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(PruneError, match="without running code"):
        read_tensors(tmp_path / "module.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(PruneError, match="holds no state dict"):
        read_tensors(tmp_path / "list.pt")


def test_the_trained_resnet18_loads(shared):
    model, spec = load_checkpoint(
        shared / "models" / "resnet18_cifar10.safetensors", "resnet18", input_shape=(3, 32, 32), num_classes=10
    )
    assert (spec.stem, spec.num_classes) == ("cifar", 10)
    assert sum(p.numel() for p in model.parameters()) == 11_173_962
    assert {p.dtype for p in model.parameters()} == {torch.float32}
