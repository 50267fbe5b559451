"""The data sets: bundled ones in full, torchvision's from IDDL_DATA, folders made here; and what batches get."""

import numpy as np
import pytest
import torch
from PIL import Image

from iddl_prune import InvalidArgument, PruneError
from iddl_prune.data import Split, load


def split(**options) -> Split:
    images = torch.arange(4 * 3 * 6 * 6, dtype=torch.uint8).view(4, 3, 6, 6)
    return Split(images, torch.arange(4), (3, 6, 6), (0.5, 0.25, 0.0), (1.0, 0.5, 2.0), **options)


def test_digits_are_the_bundled_ones():
    digits = load("digits")
    assert (len(digits.train), len(digits.test), digits.num_classes) == (1297, 500, 10)
    assert digits.input_shape == (1, 8, 8)
    assert digits.train.images.dtype == torch.uint8
    pixels = digits.train.prepare(digits.train.images)
    assert abs(float(pixels.mean())) < 0.01
    assert abs(float(pixels.std()) - 1) < 0.01


def test_digits_are_split_evenly_and_always_alike():
    digits, again = load("digits"), load("digits")
    assert torch.equal(digits.test.images, again.test.images)
    counts = torch.bincount(digits.test.labels)
    assert counts.min() >= 48
    assert counts.max() <= 51
    both = torch.cat([digits.train.images, digits.test.images]).flatten(1).numpy()
    from sklearn.datasets import load_digits

    original = np.rint(load_digits().data * (255 / 16)).astype(np.uint8)
    assert np.array_equal(np.sort(both, axis=0), np.sort(original, axis=0))


def test_grey_images_come_in_the_channels_a_model_needs():
    digits = load("digits")
    coloured = digits.with_channels(3)
    assert coloured.input_shape == (3, 8, 8)
    images, labels = coloured.test.__getitems__([0, 7])
    assert images.shape == (2, 3, 8, 8)
    assert torch.equal(labels, digits.test.labels[[0, 7]])
    grey = digits.test.prepare(digits.test.images[[0, 7]])
    assert torch.equal(coloured.test.prepare(images), grey.expand(-1, 3, -1, -1))
    assert coloured.with_channels(3) is coloured
    with pytest.raises(InvalidArgument, match=r"'channels' must be 3.*not 1"):
        coloured.with_channels(1)


def test_preparation_scales_then_normalises_each_channel():
    few = split()
    prepared = few.prepare(few.images)
    for channel, (mean, std) in enumerate([(0.5, 1.0), (0.25, 0.5), (0.0, 2.0)]):
        assert torch.allclose(prepared[:, channel], (few.images[:, channel] / 255 - mean) / std)


def test_augmentation_crops_the_padded_image_and_mirrors_it():
    few = split(padding=2, flip=True)
    padded = torch.nn.functional.pad(few.images, [2] * 4)
    windows = padded.unfold(2, 6, 1).unfold(3, 6, 1).permute(0, 2, 3, 1, 4, 5)
    seen_flips, seen_places = set(), set()
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        augmented = few._crop(few.images, generator)
        for image, found in enumerate(augmented):
            places = [
                (int(top), int(left), mirrored)
                for mirrored in (False, True)
                for top, left in torch.nonzero(
                    (windows[image] == (found.flip(2) if mirrored else found)).flatten(2).all(2)
                ).tolist()
            ]
            assert len(places) == 1
            seen_flips.add(places[0][2])
            seen_places.add(places[0][:2])
    assert seen_flips == {False, True}
    assert len(seen_places) == 25


def test_augmentation_depends_on_the_generator_alone_and_needs_one():
    few = split(padding=2, flip=True)
    first, again = (few.prepare(few.images, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, few.prepare(few.images, torch.Generator().manual_seed(6)))
    assert torch.equal(few.prepare(few.images), split().prepare(few.images))


def test_augmentation_can_be_left_out():
    plain = load("digits", augment=False).train
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(plain.prepare(plain.images, generator), plain.prepare(plain.images))
    assert load("digits").train.padding == 1


def test_a_sample_is_drawn_by_the_seed_and_not_augmented():
    few = split(padding=2, flip=True)
    assert torch.equal(few.sample(3, seed=1), few.sample(3, seed=1))
    assert len(few.sample(3, seed=1)) == 3
    prepared = few.prepare(few.images)
    order = [int((prepared == image).flatten(1).all(1).nonzero()) for image in few.sample(9, seed=1)]
    assert sorted(order) == [0, 1, 2, 3]
    assert len({tuple(few.sample(9, seed=s)[:, 0, 0, 0].tolist()) for s in range(5)}) > 1


def test_larger_images_are_cropped_in_the_middle():
    images = torch.arange(5 * 5, dtype=torch.uint8).view(1, 1, 5, 5)
    middle = Split(images, torch.zeros(1).long(), (1, 3, 3), (0.0,), (1.0,))
    assert torch.equal(middle.prepare(images) * 255, images[:, :, 1:4, 1:4].float())
    generator = torch.Generator().manual_seed(0)
    assert middle.prepare(images, generator).shape == (1, 1, 3, 3)


def test_unknown_names_are_refused():
    with pytest.raises(InvalidArgument, match=r"'name' must be a data set .*cifar100.*, not 'imagenet'"):
        load("imagenet")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("mnist", "MNIST/raw"),
        ("fashion-mnist", "FashionMNIST/raw"),
        ("cifar10", "cifar-10-batches-py"),
        ("cifar100", "cifar-100-python"),
    ],
)
def test_a_missing_data_set_says_where_it_looked_and_how_to_get_it(name, folder, tmp_path):
    with pytest.raises(PruneError) as caught:
        load(name, tmp_path)
    for part in (name, str(tmp_path), folder, "--download", "--data-dir"):
        assert part in str(caught.value)


def test_a_failing_download_says_so(tmp_path, monkeypatch):
    from torchvision import datasets

    def unreachable(*args, **options):
        raise OSError("name or service not known")

    monkeypatch.setattr(datasets, "MNIST", unreachable)
    with pytest.raises(PruneError, match=r"could not be downloaded to .*name or service not known"):
        load("mnist", tmp_path, download=True)


@pytest.mark.parametrize(
    ("name", "train", "shape"), [("mnist", 60000, (1, 28, 28)), ("fashion-mnist", 60000, (1, 28, 28))]
)
def test_grey_sets_from_torchvision(name, train, shape, torchvision_data):
    data = load(name, torchvision_data)
    assert (len(data.train), len(data.test), data.num_classes, data.input_shape) == (train, 10000, 10, shape)
    pixels = data.train.prepare(data.train.images[:5000])
    assert abs(float(pixels.mean())) < 0.02
    assert abs(float(pixels.std()) - 1) < 0.02


def test_cifar10_from_torchvision(torchvision_data):
    data = load("cifar10", torchvision_data)
    assert (len(data.train), len(data.test), data.num_classes, data.input_shape) == (50000, 10000, 10, (3, 32, 32))
    assert (data.train.padding, data.train.flip, data.test.padding, data.test.flip) == (4, True, 0, False)
    pixels = data.train.prepare(data.train.images[:5000])
    assert float(pixels.mean(dim=(0, 2, 3)).abs().max()) < 0.03
    assert torch.equal(data.train.labels[:5], torch.tensor([6, 9, 9, 4, 1]))


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for side in ("train", "val"):
        for label, name in enumerate(["cat", "dog"]):
            (tmp_path / side / name).mkdir(parents=True)
            for i in range(2):
                pixels = generator.integers(0, 256, (40, 50 + i, 3), dtype=np.uint8)
                pixels[..., 0] = 200 * label
                Image.fromarray(pixels).save(tmp_path / side / name / f"{i}.png")
    return tmp_path


def test_a_folder_of_images(folder):
    data = load(f"imagefolder:{folder}", image_size=28)
    assert (len(data.train), len(data.test), data.num_classes, data.input_shape) == (4, 4, 2, (3, 28, 28))
    images, labels = data.test.__getitems__([0, 3])
    assert images.shape == (2, 3, 32, 32)
    assert labels.tolist() == [0, 1]
    prepared = data.test.prepare(images)
    assert prepared.shape == (2, 3, 28, 28)
    assert torch.allclose(prepared[1, 0], torch.tensor((200 / 255 - 0.485) / 0.229), atol=0.02)


def test_a_folder_without_its_parts_is_refused(folder, tmp_path_factory):
    with pytest.raises(PruneError, match=r"expected one folder of images a class in"):
        load(f"imagefolder:{tmp_path_factory.mktemp('empty')}")
    (folder / "val" / "dog").rename(folder / "val" / "fish")
    with pytest.raises(PruneError, match=r"class 'dog' is in only one of"):
        load(f"imagefolder:{folder}")
