from handled import handled
from keras import layers


def test_embedding():
    """Rows of the table all stay; what is read are numbers of rows, which are no channels of any layer."""
    table = handled(layers.Embedding(11, 3), (5,), dtype="int32")
    ((axis, made),) = table.labels
    assert (axis, len(made)) == (2, 3)
    assert table.weights == {"embeddings": {"writes": {1: made}}}
    assert table.macs == []
    assert table.config(made[0]) == {"output_dim": 2}
    assert not set(made) & set(table.fixed)
