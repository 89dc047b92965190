"""Saved policies that no stage could start from are refused before any data is read, those of the second stage too."""

import os
import shutil

import keras
import pytest
import small_tasks

import tfcompress
from tfcompress.agents.reinforce import ReinforceSettings, RemovalLearner, ShrinkageLearner
from tfcompress.methods import N2N
from tfcompress.methods.n2n.rules import TEXT
from tfcompress.methods.n2n.sequence import names_of_features

FEATURES = names_of_features(TEXT)


class Unread(keras.utils.PyDataset):
    """Batches that nobody may read."""

    def __len__(self):
        return 4

    def __getitem__(self, number):
        raise AssertionError("the data was read")


@pytest.fixture(name="saved", scope="module")
def policies_of_both_stages(tmp_path_factory):
    """A folder with a policy of each stage, as a search saves them."""
    folder = tmp_path_factory.mktemp("policies")
    RemovalLearner(FEATURES, 9).save(str(folder / "removal"))
    ShrinkageLearner(FEATURES, 9).save(str(folder / "shrinkage"))
    return folder


def compress(folder, **settings):
    method = N2N(policies=str(folder), updates=1, rollouts=1, score_epochs=1, epochs=0, **settings)
    tfcompress.compress(small_tasks.trained_network(), method, Unread(), validation_data=Unread(), verbose=0)


def assert_refused(words, folder, **settings):
    with pytest.raises(ValueError, match=f"(?s)Expected.*{words}"):
        compress(folder, **settings)


def test_policies_of_both_stages_are_taken(saved):
    with pytest.raises(AssertionError, match="the data was read"):
        compress(saved)


def test_a_policy_of_the_other_stage(saved, tmp_path):
    shutil.copytree(saved / "removal", tmp_path / "removal")
    shutil.copytree(saved / "removal", tmp_path / "shrinkage")
    assert_refused("kind='shrinkage'.*Received: kind='removal'", tmp_path)
    assert_refused("kind='shrinkage'.*Received: kind='removal'", tmp_path, stage="shrinkage")
    with pytest.raises(AssertionError, match="the data was read"):
        compress(tmp_path, stage="removal")


def test_policies_for_other_features_of_other_sizes_and_with_other_shares(tmp_path):
    RemovalLearner(FEATURES[:-1], 9).save(str(tmp_path / "removal"))
    assert_refused("features=.*Received: features=", tmp_path, stage="removal")
    RemovalLearner(FEATURES, 9, ReinforceSettings(units=3)).save(str(tmp_path / "removal"))
    assert_refused("units=30.*Received: units=3", tmp_path, stage="removal")
    ShrinkageLearner(FEATURES, 9, shares=(0.5, 1.0)).save(str(tmp_path / "shrinkage"))
    assert_refused("shares=.*Received: shares=", tmp_path, stage="shrinkage")


def test_a_folder_without_the_policy_of_a_stage(saved, tmp_path):
    shutil.copytree(saved / "removal", tmp_path / "removal")
    assert_refused("saved shrinkage policy.*Received: .*shrinkage", tmp_path)
    os.remove(tmp_path / "removal" / "weights.index")
    assert_refused("readable weights.*Save the policy again", tmp_path)
    assert_refused("saved removal policy.*Received: .*nothing", tmp_path / "nothing")
