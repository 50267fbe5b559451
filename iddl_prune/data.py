"""Labelled images, held as uint8 tensors and prepared a batch at a time on the device that uses them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iddl_prune.errors import InvalidArgument, PruneError
from iddl_prune.preprocessing import Preprocessing

__all__ = ["Dataset", "Split", "load"]


@dataclass(frozen=True, eq=False)
class Split:
    """One side of a data set: images and labels, with the preparation that its batches get.

    Attributes
    ----------
    images
        uint8 tensor of shape (n, channels, height, width), or anything that gives one for a list of indices.
    labels
        int64 tensor of shape (n,).
    input_shape
        (channels, height, width) of a prepared image; larger ones are cropped to it.
    mean, std
        Of each channel of the training images scaled to 0..1.
    padding, flip
        Augmentation: black pixels put around an image before a random crop, and whether it may be mirrored.
    """

    images: Tensor | _ImageFiles
    labels: Tensor
    input_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: int = 0
    flip: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """The raw images and labels of several indices at once; torch's DataLoader looks for this name."""
        return self.images[indices], self.labels[indices]

    def prepare(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Turn raw images into what a model takes: cropped and normalised, float32, on the images' device.

        With a generator (of the CPU, so that every device draws alike) the images are augmented.
        """
        mean, std = (torch.tensor(m, device=images.device).view(-1, 1, 1) for m in (self.mean, self.std))
        return (self._crop(images, generator).float() / 255 - mean) / std

    def sample(self, size: int, seed: int) -> Tensor:
        """So many prepared inputs, not augmented, drawn once by the seed; all there are if they are fewer."""
        return self.labelled_sample(size, seed)[0]

    def labelled_sample(self, size: int, seed: int) -> tuple[Tensor, Tensor]:
        """The same inputs as `sample`, and their labels."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:size].tolist()
        return self.prepare(self.images[order]), self.labels[order]

    def _crop(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        height, width = self.input_shape[1:]
        if generator is None:
            top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
            return images[:, :, top : top + height, left : left + width]
        if self.padding == 0 and not self.flip and images.shape[2:] == (height, width):
            return images
        images = torch.nn.functional.pad(images, [self.padding] * 4)
        n, channels = images.shape[:2]
        rows = torch.randint(images.shape[2] - height + 1, (n, 1), generator=generator) + torch.arange(height)
        columns = torch.randint(images.shape[3] - width + 1, (n, 1), generator=generator) + torch.arange(width)
        if self.flip:
            mirrored = torch.rand(n, 1, generator=generator) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        rows, columns = rows.to(images.device), columns.to(images.device)
        image = torch.arange(n, device=images.device).view(-1, 1, 1, 1)
        channel = torch.arange(channels, device=images.device).view(-1, 1, 1)
        return images[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images to train on and images to test on, of the same classes and shape.

    Attributes
    ----------
    classes
        Name of each class; their numbers if left out.
    grey
        Whether all channels show the same shades of grey.
    """

    name: str
    train: Split
    test: Split
    num_classes: int
    classes: tuple[str, ...] = ()
    grey: bool = False

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of a prepared image."""
        return self.train.input_shape

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image file becomes an input like those of the test images."""
        stored = self.test.images
        shorter_side = min(stored.shape[2:]) if isinstance(stored, Tensor) else stored.size
        classes = self.classes or tuple(map(str, range(self.num_classes)))
        grey = self.grey or self.input_shape[0] == 1
        return Preprocessing(self.input_shape, shorter_side, self.test.mean, self.test.std, grey, classes)

    def with_channels(self, channels: int) -> Dataset:
        """The same images in so many channels: grey ones are repeated, others must have that number.

        Raises
        ------
        InvalidArgument
            If the images have neither one channel nor the number asked for.
        """
        given = self.input_shape[0]
        if channels == given:
            return self
        if given != 1:
            raise InvalidArgument(
                f"Argument 'channels' must be {given}, as in the images of {self.name}, not {channels}."
            )
        return replace(self, train=_repeat(self.train, channels), test=_repeat(self.test, channels), grey=True)


def load(
    name: str,
    data_dir: str | Path = "data",
    *,
    download: bool = False,
    augment: bool = True,
    image_size: int = 224,
) -> Dataset:
    """Load a data set of labelled images.

    Parameters
    ----------
    name
        ``digits`` (scikit-learn's 1797 handwritten digits of 8x8 pixels, bundled with it: 500 drawn once,
        evenly from the classes, are the test images), ``mnist``, ``fashion-mnist``, ``cifar10``, ``cifar100``, or
        ``imagefolder:PATH`` with PATH/train/CLASS/IMAGE and PATH/val or PATH/test beside it.
    data_dir
        Folder in which torchvision keeps its data sets.
    download
        Whether torchvision may fetch what `data_dir` lacks.
    augment
        Whether the training images may be cropped and mirrored at random where that is usual.
    image_size
        Height and width in pixels to which the images of a folder are brought.

    Raises
    ------
    InvalidArgument
        If there is no data set of that name.
    PruneError
        If the files are not there or not whole, or cannot be fetched; the message says what was expected where.
    """
    if name == "digits":
        dataset = _digits()
    elif name in _TORCHVISION:
        dataset = _from_torchvision(name, Path(data_dir), download)
    elif name.startswith("imagefolder:"):
        dataset = _image_folder(name, Path(name.removeprefix("imagefolder:")), image_size)
    else:
        names = ", ".join(["digits", *_TORCHVISION, "imagefolder:PATH"])
        raise InvalidArgument(f"Argument 'name' must be a data set ({names}), not {name!r}.")
    return dataset if augment else replace(dataset, train=replace(dataset.train, padding=0, flip=False))


def _repeat(split: Split, channels: int) -> Split:
    assert isinstance(split.images, Tensor)
    return replace(
        split,
        images=split.images.expand(-1, channels, -1, -1),
        input_shape=(channels, *split.input_shape[1:]),
        mean=split.mean * channels,
        std=split.std * channels,
    )


def _digits() -> Dataset:
    """The test set of E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998; grey 0..16."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    train, test = train_test_split(np.arange(len(labels)), test_size=500, stratify=labels, random_state=0)
    shape, mean, std = (1, 8, 8), (0.3053,), (0.3760,)
    return Dataset(
        "digits",
        Split(torch.from_numpy(pixels[train]), torch.from_numpy(labels[train]).long(), shape, mean, std, padding=1),
        Split(torch.from_numpy(pixels[test]), torch.from_numpy(labels[test]).long(), shape, mean, std),
        num_classes=10,
    )


@dataclass(frozen=True)
class _TorchvisionSet:
    class_name: str
    folder: str
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: int
    flip: bool


_TORCHVISION = {
    "mnist": _TorchvisionSet("MNIST", "MNIST/raw", 10, (0.1307,), (0.3081,), 0, False),
    "fashion-mnist": _TorchvisionSet("FashionMNIST", "FashionMNIST/raw", 10, (0.2860,), (0.3530,), 0, False),
    "cifar10": _TorchvisionSet(
        "CIFAR10", "cifar-10-batches-py", 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), 4, True
    ),
    "cifar100": _TorchvisionSet(
        "CIFAR100", "cifar-100-python", 100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), 4, True
    ),
}


def _from_torchvision(name: str, data_dir: Path, download: bool) -> Dataset:
    from torchvision import datasets

    source = _TORCHVISION[name]
    make = getattr(datasets, source.class_name)
    try:
        sides = [make(data_dir, train=train, download=download) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        if download:
            raise PruneError(f"Data set {name!r} could not be downloaded to {data_dir.absolute()}: {error}") from error
        raise PruneError(
            f"Data set {name!r} is not in {data_dir.absolute()}, or not whole: expected torchvision's "
            f"{source.class_name} files in {data_dir.absolute() / source.folder}. Give the folder that holds "
            f"{source.folder} as data_dir (--data-dir), or fetch it with download=True (--download)."
        ) from error
    train, test = (_in_memory(side, source) for side in sides)
    return Dataset(
        name,
        replace(train, padding=source.padding, flip=source.flip),
        test,
        source.num_classes,
        tuple(sides[0].classes),
    )


def _in_memory(side: Any, source: _TorchvisionSet) -> Split:
    images = torch.as_tensor(side.data)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
    _, channels, height, width = images.shape
    return Split(images, torch.as_tensor(side.targets), (channels, height, width), source.mean, source.std)


class _ImageFiles:
    """Images on disk, read when asked for: the shorter side brought to `size` pixels, the middle square kept."""

    def __init__(self, paths: Sequence[str], size: int) -> None:
        from torchvision.transforms import v2

        self.paths, self.size = paths, size
        self._fit: Callable[[Any], Tensor] = v2.Compose(
            [v2.PILToTensor(), v2.Resize(size, antialias=True), v2.CenterCrop(size)]
        )

    def __getitem__(self, indices: list[int]) -> Tensor:
        from PIL import Image

        images = []
        for i in indices:
            with Image.open(self.paths[i]) as image:
                images.append(self._fit(image.convert("RGB")))
        return torch.stack(images)


def _image_folder(name: str, root: Path, size: int) -> Dataset:
    from torchvision.datasets import ImageFolder

    held_out = root / "val" if (root / "val").is_dir() else root / "test"
    try:
        train, test = ImageFolder(str(root / "train")), ImageFolder(str(held_out))
    except FileNotFoundError as error:
        raise PruneError(
            f"Data set {name!r} is not in {root.absolute()}: expected one folder of images a class "
            f"in {root / 'train'}, and the same in {root / 'val'} or {root / 'test'} ({error})."
        ) from error
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))[0]
        raise PruneError(f"Data set {name!r}: class {odd!r} is in only one of {root / 'train'} and {held_out}.")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    shape, stored = (3, size, size), size * 8 // 7
    sides = [
        Split(_ImageFiles([path for path, _ in side.samples], stored), torch.tensor(side.targets), shape, mean, std)
        for side in (train, test)
    ]
    return Dataset(name, replace(sides[0], flip=True), sides[1], len(train.classes), tuple(train.classes))
