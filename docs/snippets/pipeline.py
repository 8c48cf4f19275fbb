"""A pipeline with columns of words as ONNX."""

import numpy as np
import pandas as pd
import skl2onnx
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import senn

rng = np.random.default_rng(0)
houses = pd.DataFrame({"area": rng.uniform(20, 300, 90), "town": rng.choice(["Bonn", "Ulm"], 90)})
dear = np.where(houses["area"] + 80 * (houses["town"] == "Bonn") > 200, "dear", "cheap")
columns = ColumnTransformer(
    [("numbers", StandardScaler(), ["area"]), ("words", OneHotEncoder(), ["town"])]
)
model = make_pipeline(columns, senn.SENNClassifier(max_iter=20, optimizer="adam", random_state=0))
model.fit(houses, dear)

senn.export.register_skl2onnx()
graph = skl2onnx.to_onnx(model, houses[:1], options={"zipmap": False})
with open("houses.onnx", "wb") as file:
    file.write(graph.SerializeToString())
