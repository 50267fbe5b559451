"""An image file is seen as the images of training were; a file that is no image is named."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from iddl_prune import InvalidArgument, PruneError
from iddl_prune.data import Dataset, Split, load
from iddl_prune.predict import predict
from iddl_prune.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def linear(dataset: Dataset) -> nn.Module:
    torch.manual_seed(0)
    size = torch.Size(dataset.input_shape).numel()
    return nn.Sequential(nn.Flatten(), nn.Linear(size, dataset.num_classes))


def files(images, folder):
    paths = [folder / f"{i}.png" for i in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
        Image.fromarray(pixels.numpy()).save(path)
    return paths


@pytest.mark.parametrize("channels", [1, 3])
def test_files_make_the_inputs_of_the_data_set(channels, digits, tmp_path):
    dataset = digits.with_channels(channels)
    paths = files(digits.test.images[:40], tmp_path)
    inputs = dataset.test.prepare(dataset.test.images[:40])
    model = linear(dataset)
    told = predict(model, paths, top=3, preprocessing=dataset.preprocessing)
    probabilities, classes = model(inputs).softmax(1).topk(3)
    assert [[name for name, _ in row] for row in told] == [[str(c) for c in row] for row in classes.tolist()]
    torch.testing.assert_close(torch.tensor([[p for _, p in row] for row in told]), probabilities)
    assert model.training


def test_larger_files_and_colours_are_brought_to_size(digits, tmp_path):
    image = Image.new("RGB", (40, 16), (255, 255, 255))
    image.paste((0, 0, 0), (0, 0, 8, 16))
    image.save(tmp_path / "wide.png")
    how = digits.preprocessing
    white = (1 - how.mean[0]) / how.std[0]
    read = how.read(tmp_path / "wide.png")
    assert read.shape == (1, 8, 8)
    torch.testing.assert_close(read, torch.full((1, 8, 8), white))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_of_grey_are_as_bright_as_eight(suffix, digits, tmp_path):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    Image.fromarray(grey).save(tmp_path / f"8.{suffix}")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / f"16.{suffix}")
    read = [digits.preprocessing.read(tmp_path / f"{bits}.{suffix}") for bits in (8, 16)]
    assert torch.equal(*read)
    assert read[0].unique().numel() == 64


def test_an_image_that_does_not_say_what_is_white_is_refused(digits, tmp_path):
    Image.fromarray(np.full((8, 8), 0.5, dtype=np.float32)).save(tmp_path / "floats.tif")
    with pytest.raises(PruneError, match=r"floats.tif cannot be read as an image: .* pixels of kind 'F'"):
        digits.preprocessing.read(tmp_path / "floats.tif")


def test_colour_is_normalised_channel_by_channel(tmp_path):
    images = torch.randint(0, 256, (2, 3, 6, 8), dtype=torch.uint8)
    side = Split(images, torch.zeros(2, dtype=torch.long), (3, 6, 8), (0.4, 0.5, 0.6), (0.2, 0.3, 0.1))
    how = Preprocessing((3, 6, 8), 8, side.mean, side.std, False, ("a", "b"))
    square = torch.nn.functional.pad(images, (0, 0, 1, 1))
    read = torch.stack([how.read(path) for path in files(square, tmp_path)])
    torch.testing.assert_close(read, side.prepare(images))


def test_images_on_disk_are_read_as_their_data_set_reads_them(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for side in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / side / name).mkdir(parents=True)
            image = torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8, generator=generator)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / side / name / "1.png")
    dataset = load(f"imagefolder:{tmp_path}", image_size=28)
    how = dataset.preprocessing
    assert how.classes == ("cat", "dog")
    read = torch.stack([how.read(tmp_path / "val" / name / "1.png") for name in how.classes])
    torch.testing.assert_close(read, dataset.test.prepare(dataset.test.images[[0, 1]]))


def test_a_file_that_is_no_image_is_named(digits, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    (whole,) = files(digits.test.images[:1], tmp_path)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:60])
    for name, reason in {"text.png": "cannot identify", "nowhere.png": "No such file", "cut.png": ""}.items():
        with pytest.raises(PruneError, match=rf"{name} cannot be read as an image: {reason}"):
            predict(linear(digits), [whole, tmp_path / name], preprocessing=digits.preprocessing)


def test_what_must_be_told(digits, tmp_path):
    with pytest.raises(InvalidArgument, match="'preprocessing' must be given"):
        predict(linear(digits), [])
    with pytest.raises(InvalidArgument, match="'top' must be at least 1, not 0"):
        predict(linear(digits), [], top=0)
    with pytest.raises(InvalidArgument, match="'mean' must have 1 numbers"):
        Preprocessing((1, 8, 8), 8, (0.1, 0.2), (0.1,), True, ())
    with pytest.raises(InvalidArgument, match="'input_shape' must have 3 channels for images in colour, not 1"):
        Preprocessing((1, 8, 8), 8, (0.1,), (0.1,), False, ())
    with pytest.raises(InvalidArgument, match="'shorter_side' must be at least 8, not 7"):
        Preprocessing((1, 8, 8), 7, (0.1,), (0.1,), True, ())
