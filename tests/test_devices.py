"""Runs on several devices are those of one: the same decisions, and parameters to rounding."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from command import refused
from senn import devices
from senn.devices import mesh_of
from senn.nn import ConvNet
from senn.training import fit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(pytestconfig):
    """What a process of eight devices says (`on_devices.py`)."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("on_devices.py"))],
        env={**os.environ, "XLA_FLAGS": flags, "PJRT_NPROC": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_growth_on_eight_devices_is_that_on_one(found):
    told = found["kfac"]
    assert told["alike"]
    assert any(accepted for *_, accepted in told["decided"])  # else there was nothing to compare
    assert told["far"] < 1e-8
    np.testing.assert_allclose(*told["losses"], rtol=1e-9)


@pytest.mark.parametrize("name", ["natural_gradient", "adam", "three", "streamed"])
def test_steps_on_several_devices_are_those_on_one(found, name):
    assert found[name]["far"] < 1e-8
    np.testing.assert_allclose(*found[name]["losses"], rtol=1e-9)


def test_what_is_returned_lies_on_one_device(found):
    assert found["kfac"]["home"]
    assert found["three"]["home"]


def test_a_run_goes_on_with_fewer_devices(found):
    assert found["resumed"]["alike"]
    assert found["resumed"]["far"] < 1e-8


def test_estimators_share_their_rows(found):
    assert found["estimated"] < 1e-9


# --- one device -----------------------------------------------------------------------------


def test_one_device_is_no_mesh():
    assert mesh_of(1) is mesh_of(None) is None
    batch = np.ones((4, 2))
    with devices.using(jax.make_mesh((1,), ("anything",))):
        assert devices.in_use() is None
        assert devices.by_rows(batch) is devices.dealt(batch, 2) is batch
        assert devices.alike(5, 3) == 5
        assert devices.home(batch) is devices.same(batch) is batch


def test_a_mesh_of_somebody_else_is_not_taken_for_ours():
    with jax.set_mesh(jax.make_mesh((1,), ("theirs",))):
        assert devices.in_use() is None


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "two"])
def test_numbers_of_devices_that_are_none(wrong):
    with pytest.raises(ValueError, match=r"^devices must be a whole number of at least 1; got "):
        mesh_of(wrong)


def test_a_mesh_that_is_none_is_told():
    with (
        pytest.raises(TypeError, match=r"such as senn.devices.mesh_of\(2\); got 2"),
        devices.using(2),
    ):
        pass


def test_convolutions_are_for_one_device(monkeypatch):
    network = ConvNet((4, 4, 1), 2, (2,), key=jax.random.key(0))
    data = np.zeros((8, 4, 4, 1)), np.arange(8) % 2
    monkeypatch.setattr(devices, "count", lambda: 2)
    with pytest.raises(ValueError, match=r"^2 devices share rows of .* on one \(mesh=None\)\.$"):
        fit(network, data)
    refused(["train", "digits", "--network", "conv", "--devices", "2"], "leave out --devices 2")


def test_more_devices_than_there_are():
    said = (
        r"devices=99 is more than the 1 device \(cpu\) that JAX finds: ask for at most 1, or let a "
        r"CPU pass for 99 by setting .*device_count=99 before Python starts\.$"
    )
    with pytest.raises(ValueError, match=said):
        mesh_of(99)
    refused(["train", "digits", "--devices", "99"], said)
