/** Dialogs: each returns a promise of what was chosen, or of null. */

import * as api from "./api.js";
import { byId, counted, el } from "./dom.js";
import { during } from "./waiting.js";

/** Shows a dialog whose body is made by `fill(done)`; `done(value)` closes it. */
function dialog(title, fill) {
  const box = byId("dialog"), before = document.activeElement;
  return new Promise((resolve) => {
    let result = null, finished = false;
    const finish = () => {
      if (finished || box.open) return; // the event of a dialog before this one comes late
      finished = true;
      box.replaceChildren();
      const focused = document.activeElement; // elsewhere, if the event comes after the next key
      if (before?.isConnected && [null, document.body].includes(focused)) before.focus();
      resolve(result);
    };
    const done = (value) => { result = value; box.close(); finish(); };
    box.replaceChildren(el("h2", { id: "dialog-title" }, title), ...fill(done));
    box.onclose = finish;
    box.onclick = (event) => { if (event.target === box) box.close(); };
    box.showModal();
  });
}

const closing = (done) => el("button", { type: "button", onclick: () => done(null) }, "Close");

export function askText(title, label, value = "", ok = "Save") {
  return dialog(title, (done) => {
    let isNew = true; // selected at once: later it would take what has been typed meanwhile
    const input = el("input", {
      type: "text", id: "text", maxlength: 120, value, autofocus: true,
      onfocus: () => { if (isNew) input.select(); isNew = false; },
    });
    const send = (event) => { event.preventDefault(); done(input.value); };
    return [el("form", { onsubmit: send },
      el("label", { for: "text" }, label), input,
      el("div.row", {}, el("button.main", { type: "submit" }, ok), closing(done)))];
  });
}

/** Lets a person choose a cluster by typing a part of its name, by digit or by click. */
export function askGroup(title, groups, { create = false } = {}) {
  return dialog(title, (done) => {
    const list = el("div.choices", { role: "group", "aria-label": "Clusters" });
    const input = el("input", {
      type: "text", id: "which", autocomplete: "off", autofocus: true,
      onkeydown: (event) => {
        const digit = /^[1-9]$/.test(event.key) && !input.value;
        const index = digit ? Number(event.key) - 1 : event.key === "Enter" ? 0 : -1;
        if (index < 0) return;
        event.preventDefault();
        list.children[index]?.click();
      },
      oninput: () => draw(),
    });
    const draw = () => {
      const text = input.value.trim().toLowerCase();
      const found = groups.filter((group) => group.title.toLowerCase().includes(text));
      const made = create && text
        ? [el("button", { type: "button", onclick: () => done({ create: input.value.trim() }) },
          `New cluster “${input.value.trim()}”`)] : [];
      list.replaceChildren(...found.slice(0, 60).map((group, index) => el("button", {
        type: "button", onclick: () => done({ key: group.key }),
      }, index < 9 ? el("kbd", {}, String(index + 1)) : "",
      ...group.covers.slice(0, 3).map((row) => el("img", { src: api.thumb(row), alt: "" })),
      group.title, el("span.facts", {}, counted(group.count, "image")))), ...made);
    };
    draw();
    return [el("form", { onsubmit: (event) => event.preventDefault() },
      el("label", { for: "which" }, "Type a name, or press a digit"), input, list,
      el("div.row", {}, closing(done)))];
  });
}

/** Shows the parts a cluster would be cut into; resolves to lists of rows. */
export function askSplit(group, pixel) {
  return dialog(`Split ${group.title}`, (done) => {
    const shown = el("div", { "aria-live": "polite" });
    let parts = null;
    const accept = el("button.main", { type: "button", disabled: true, onclick: () => done(parts) }, "Split like this");
    const ask = async (count) => {
      accept.disabled = true;
      shown.replaceChildren(el("p", {}, "Looking …"));
      for (const button of counts.querySelectorAll("button")) {
        button.setAttribute("aria-pressed", button.textContent === String(count));
      }
      try {
        parts = await during(() => api.parts(group.key, count));
        shown.replaceChildren(...parts.map((rows, index) => el("section", {},
          el("h3", {}, `Part ${index + 1}: ${counted(rows.length, "image")}`),
          el(pixel ? "div.shown.pixel" : "div.shown", {}, ...sample(rows, 8).map(
            (row) => el("img", { src: api.thumb(row), alt: `Image ${row}` }))))));
        accept.disabled = parts.length < 2;
      } catch (error) { shown.replaceChildren(el("p", {}, error.message)); }
    };
    const counts = el("div.row", { role: "group", "aria-label": "Number of parts" }, "Parts:",
      ...[2, 3, 4, 5].map((count) => el("button", { type: "button", onclick: () => ask(count) }, String(count))));
    const keys = (event) => {
      if (/^[2-5]$/.test(event.key)) ask(Number(event.key));
      if (event.key === "y" && !accept.disabled) accept.click();
    };
    ask(2);
    return [el("div", { onkeydown: keys }, counts, shown, el("div.row", {}, accept, closing(done)))];
  });
}

function sample(rows, count) {
  const step = Math.max(1, Math.floor(rows.length / count));
  return rows.filter((_, index) => index % step === 0).slice(0, count);
}

const percent = (value) => `${(100 * value).toFixed(1)} %`;

/** One image large, with what is known of it and the images most like it. */
export function lightbox(row, { rows, pixel, titleOf, act }) {
  return dialog("Image", (done) => {
    const body = el("div"), place = new Map(rows.map((one, index) => [one, index]));
    let current = row;
    const show = async (next) => {
      current = next;
      const found = await api.item(next);
      if (current !== next || !body.isConnected) return; // closed while the answer was on its way
      byId("dialog-title").textContent = found.image;
      const facts = [
        ["Cluster", titleOf(found.group)], ["Automatic", titleOf(found.automatic)],
        ["Confidence", percent(found.confidence)],
        ["Second choice", `${titleOf(found.second)}, ${percent(found.second_probability)}`],
        ["Distance to the centre", found.distance.toFixed(3)],
        ["Reliable", found.reliable ? "yes" : "no"],
        ["Decided", found.excluded ? "excluded" : found.decision || "no"],
      ];
      body.replaceChildren(el("div.lightbox", {},
        el(pixel ? "img.big.pixel" : "img.big", { src: api.image(next), alt: found.image }),
        el("div", {},
          el("dl", {}, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
          el("h3", {}, "Most like it"),
          el("div.near", {}, ...found.nearest.map((near) => el("button", {
            type: "button", "aria-label": `Image ${near}`, onclick: () => show(near),
          }, el("img", { src: api.thumb(near), alt: "" })))))));
    };
    const step = (by) => {
      const next = rows[(place.get(current) ?? 0) + by];
      if (next !== undefined) show(next);
    };
    const moves = { ArrowLeft: -1, ArrowRight: 1 };
    const actions = { v: "move", n: "new", x: "exclude", c: "check" };
    const keys = (event) => {
      if (event.key in moves) step(moves[event.key]);
      else if (event.key in actions) done({ action: actions[event.key], row: current });
    };
    const button = (text, name) => el("button", { type: "button", onclick: () => done({ action: name, row: current }) }, text);
    show(row);
    return [el("div.plain", { tabindex: -1, onkeydown: keys, autofocus: true }, body,
      el("div.row", {},
        el("button", { type: "button", onclick: () => step(-1), "aria-label": "Previous image" }, "←"),
        el("button", { type: "button", onclick: () => step(1), "aria-label": "Next image" }, "→"),
        button("Move (v)", "move"), button("New cluster (n)", "new"),
        button("Exclude (x)", "exclude"), button("Checked (c)", "check"), closing(done)))];
  }).then((chosen) => { if (chosen) act(chosen.action, [chosen.row]); });
}

const KEYS = [
  ["[, ]", "The view before, the next one: clusters, questions, map, duplicates, outliers, excluded"],
  ["← ↑ ↓ →", "Go from image to image, or from cluster to cluster; with Shift, select"],
  ["Space", "Select or unselect"], ["a", "Select all images of the list"],
  ["Enter", "Open the cluster or the image"], ["Esc", "Unselect; go back"],
  ["r", "Rename"], ["m", "Merge the selected clusters, or this one with another"],
  ["s", "Split the cluster, after a preview"], ["b", "Show two clusters side by side"],
  ["v", "Move the selected images"], ["n", "Make a new cluster of them"],
  ["x", "Exclude them, or take them back"], ["c", "Mark them as checked; without a selection, all"],
  ["y, n", "Answer a question: yes, no; a digit chooses another cluster, s skips"],
  ["u, Shift+U", "Undo, redo"], ["/", "Search"], ["?", "This help"],
];

export function help() {
  return dialog("Keys", (done) => [
    el("table", {}, el("tbody", {}, ...KEYS.map(([key, text]) =>
      el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, key)), el("td", {}, text))))),
    el("p", {}, "Search for words of a file name or a cluster’s name, or compare a column: ",
      el("kbd", {}, "confidence<0.6"), " ", el("kbd", {}, "decision:moved"), " ",
      el("kbd", {}, "reliable=0"), ". With the mouse: click selects, Shift+click selects up to "
      + "there, a double click opens."),
    el("div.row", {}, el("button.main", { type: "button", autofocus: true, onclick: () => done(null) }, "Close")),
  ]);
}
