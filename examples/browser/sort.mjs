// Sorts an image with the files of `spice export RUN --format onnx`: see docs/serving.md.
import * as ort from "./ort/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more need headers that isolate the page

const answer = document.getElementById("answer");
const place = document.getElementById("place");

// How much each old pixel counts for each new one: bilinear with antialiasing, as in training.
function weights(length, target) {
  const scale = length / target;
  const reach = Math.max(scale, 1);
  return Array.from({ length: target }, (_, row) => {
    const center = (row + 0.5) * scale;
    const first = Math.max(0, Math.floor(center - reach));
    const last = Math.min(length, Math.ceil(center + reach));
    const found = [];
    for (let at = first; at < last; at += 1) {
      found.push(Math.max(0, 1 - Math.abs(at + 0.5 - center) / reach));
    }
    const sum = found.reduce((total, value) => total + value, 0);
    return { first, values: found.map((value) => value / sum) };
  });
}

// RGBA pixels of any size to RGB of the side the model takes, transparency over white.
function resized(rgba, width, height, side) {
  const down = new Float32Array(side * width * 3);
  weights(height, side).forEach(({ first, values }, row) => {
    values.forEach((weight, step) => {
      for (let column = 0; column < width; column += 1) {
        const from = ((first + step) * width + column) * 4;
        const alpha = rgba[from + 3] / 255;
        for (let channel = 0; channel < 3; channel += 1) {
          const value = 255 + (rgba[from + channel] - 255) * alpha;
          down[(row * width + column) * 3 + channel] += weight * value;
        }
      }
    });
  });
  const result = new Uint8Array(side * side * 3);
  weights(width, side).forEach(({ first, values }, column) => {
    for (let row = 0; row < side; row += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        let sum = 0;
        values.forEach((weight, step) => {
          sum += weight * down[(row * width + first + step) * 3 + channel];
        });
        result[(row * side + column) * 3 + channel] = Math.round(sum);
      }
    }
  });
  return result;
}

async function pixels(blob, side, fit) {
  const image = await createImageBitmap(blob); // turned by its EXIF orientation
  const edge = Math.min(image.width, image.height);
  const [width, height] = fit === "crop" ? [edge, edge] : [image.width, image.height];
  const left = Math.floor((image.width - width) / 2);
  const top = Math.floor((image.height - height) / 2);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.drawImage(image, -left, -top);
  return resized(context.getImageData(0, 0, width, height).data, width, height, side);
}

const told = await (await fetch("./model/export.json")).json();
const session = await ort.InferenceSession.create("./model/model.onnx");
const side = told.input.pixels[1];
answer.textContent = "Ready.";

async function sort(blob) {
  answer.textContent = "Looking.";
  try {
    const given = await pixels(blob, side, told.facts.fit);
    const tensor = new ort.Tensor("uint8", given, [1, side, side, 3]);
    const outputs = await session.run({ pixels: tensor });
    const cluster = outputs.cluster.data[0];
    const name = told.facts.names?.[cluster] || "without a name";
    const sure = (100 * outputs.confidence.data[0]).toFixed(2);
    const doubt = outputs.unsure?.data[0] ? ", in doubt" : "";
    answer.textContent = `Cluster ${cluster} (${name}), ${sure} % sure${doubt}.`;
  } catch (error) {
    answer.textContent = `This file cannot be sorted: ${error.message}`;
  }
}

document.getElementById("file").addEventListener("change", (event) => sort(event.target.files[0]));
place.addEventListener("dragover", (event) => { event.preventDefault(); place.classList.add("over"); });
place.addEventListener("dragleave", () => place.classList.remove("over"));
place.addEventListener("drop", (event) => {
  event.preventDefault();
  place.classList.remove("over");
  sort(event.dataTransfer.files[0]);
});
// index.html?image=ADDRESS sorts an image of this server.
const named = new URLSearchParams(location.search).get("image");
if (named) await sort(await (await fetch(named)).blob());
