/** The page: what is shown, what is selected, and what each key does. */

import * as api from "./api.js";
import { askGroup, askSplit, askText, help, lightbox } from "./dialogs.js";
import { byId, counted, el, number, say } from "./dom.js";
import { Grid } from "./grid.js";
import { ImageMap } from "./map.js";
import { Queue } from "./questions.js";
import { during } from "./waiting.js";

const VIEWS = [
  ["clusters", "Clusters"], ["questions", "Questions"], ["map", "Map"],
  ["duplicates", "Duplicates"], ["outliers", "Outliers"], ["excluded", "Excluded"],
];
const LISTS = { duplicates: "Near-duplicates", outliers: "Outliers", excluded: "Excluded images", search: "Found" };
const POLL = 2000;

const selection = new Set(), chosen = new Set();
let overview = null, view = { name: "clusters" }, shown = null, pixel = false, here = 0;
let shows = 0; // how often a view was asked for: an answer that comes late is not shown

const group = (key) => overview.groups.find((one) => one.key === key);
const title = (one) => one.name || `Cluster ${one.key.startsWith("c") ? one.key.slice(1) : one.key}`;
const titleOf = (key) => (group(key) ? title(group(key)) : `Cluster ${key.slice(1)}`);
const titled = () => overview.groups.map((one) => ({ ...one, title: title(one) }));

/** Sends an edit, then shows what it changed; keys typed meanwhile wait. */
const edit = (wish, done) => during(() => sent(wish, done));

async function sent(wish, done) {
  const rows = [...selection], keys_ = [...chosen];
  selection.clear(); // before the answer, so that what is selected meanwhile stays
  chosen.clear();
  try {
    await api.edit(wish);
    await refresh();
    if (done) say(done);
    return true;
  } catch (error) {
    rows.forEach((row) => selection.add(row));
    keys_.forEach((key) => chosen.add(key));
    say(error.message);
    return false;
  }
}

async function refresh() {
  overview = await api.state();
  byId("undo").disabled = !overview.can_undo;
  byId("redo").disabled = !overview.can_redo;
  byId("summary").textContent = `${counted(overview.total, "image")} in `
    + `${counted(overview.groups.length, "cluster")}, ${number(overview.excluded)} excluded, `
    + `${number(overview.decided)} decided by you.`;
  if (["group", "pair"].includes(view.name) && view.keys.some((key) => !group(key))) view = { name: "clusters" };
  await show();
}

function tabs() {
  byId("views").replaceChildren(...VIEWS.map(([name, text]) => el("button", {
    type: "button", onclick: () => go({ name }),
    "aria-current": name === view.name || (name === "clusters" && ["group", "pair"].includes(view.name)) ? "page" : false,
  }, text)));
}

function go(next) {
  shown?.close?.();
  shown = null;
  view = next;
  selection.clear();
  return show();
}

const loaders = { clusters: showClusters, questions: showQuestions, map: showMap, group: showGroup, pair: showPair };

const show = () => during(async () => {
  shows += 1;
  tabs();
  try { await (loaders[view.name] ?? showList)(); } catch (error) { say(error.message); }
  drawActions();
});

function replace(...nodes) { byId("main").replaceChildren(...nodes); }

// --- Clusters -----------------------------------------------------------------------------------

function showClusters() {
  const focused = document.activeElement?.closest?.(".card")?.dataset.key;
  const cards = el("ul.cards", {}, ...overview.groups.map(card));
  const scroll = byId("main").querySelector(".scroll")?.scrollTop ?? 0;
  const lost = overview.lost.length ? [el("details.lost", {},
    el("summary", {}, `${counted(overview.lost.length, "edit")} no longer apply`),
    el("ul", {}, ...overview.lost.map(([count, kind, reason]) => el("li", {}, `Edit ${count} (${kind}): ${reason}.`))))] : [];
  replace(el("h2.hidden", {}, "Clusters"), ...lost, el("div.scroll", {}, cards));
  byId("main").querySelector(".scroll").scrollTop = scroll;
  if (focused !== undefined) {
    const at = overview.groups.findIndex((one) => one.key === focused);
    focusCard(at < 0 ? here : at);
  }
}

function card(one, index) {
  const toggle = () => { if (!chosen.delete(one.key)) chosen.add(one.key); showClusters(); focusCard(index); drawActions(); };
  const facts = `${counted(one.count, "image")}${one.confidence === null ? "" : `, ${Math.round(100 * one.confidence)} % sure`}`;
  const done = one.decided ? el("span.done", {}, one.decided === one.count ? "✓ checked" : `${number(one.decided)} decided`) : "";
  return el(chosen.has(one.key) ? "li.card.chosen" : "li.card", { "data-key": one.key },
    el("button.open", { type: "button", "data-index": index, onclick: () => go({ name: "group", keys: [one.key] }), onfocus: () => { here = index; } },
      el("div.covers", {}, ...one.covers.map((row) => el("img", { src: api.thumb(row), alt: "", loading: "lazy" }))),
      el("div.title", {}, title(one)), el("div.facts", {}, facts, " ", done)),
    el("div.row", {}, el("label", {}, el("input", { type: "checkbox", checked: chosen.has(one.key), onchange: toggle }), "Select"),
      el("button", { type: "button", onclick: () => rename(one.key), "aria-label": `Rename ${title(one)}` }, "Rename")));
}

function focusCard(index) {
  here = Math.max(0, Math.min(overview.groups.length - 1, index));
  byId("main").querySelector(`[data-index="${here}"]`)?.focus();
}

function cardColumns() {
  const cards = [...document.querySelectorAll(".card")];
  return Math.max(1, cards.filter((one) => one.offsetTop === cards[0].offsetTop).length);
}

// --- Lists of images ----------------------------------------------------------------------------

const sorts = [["confidence asc", "least sure first"], ["confidence desc", "surest first"],
  ["distance desc", "farthest from the centre first"], ["distance asc", "nearest to the centre first"],
  ["name asc", "by file name"], ["order asc", "in the order of the run"]];

function sortBox(current) {
  return el("span", {}, el("label.hidden", { for: "sort" }, "Sort"), el("select", {
    id: "sort", onchange: (event) => { view.sort = event.target.value; show(); },
  }, ...sorts.map(([value, text]) => el("option", { value, selected: value === current }, text))));
}

function makeGrid(label) {
  return new Grid({ label, selection, pixel, opened: (row) => openImage(row), changed: drawActions });
}

async function fill(name, heading, bar, of, sort, query) {
  const [by, order] = sort.split(" "), same = shown?.name === name;
  const turn = shows;
  const rows = await api.items({ of, sort: by, order, q: query });
  if (turn !== shows) return; // something else was asked for while the answer was on its way
  if (same && shown?.grids) { shown.grids[0].show(rows); shown.heading.textContent = heading(rows); return; }
  const grid = makeGrid(name), head = el("h2", {}, heading(rows));
  shown?.close?.();
  shown = { name, grids: [grid], heading: head, close: () => grid.close() };
  replace(el("div.bar", {}, head, ...bar(rows)), rows.length ? grid.node : el("p.empty", {}, "No image is here."));
  if (rows.length) { grid.show(rows); grid.node.focus({ preventScroll: true }); } else shown.grids = null;
}

function showGroup() {
  const [key] = view.keys, sort = view.sort ?? "confidence asc";
  const act = (name, text, key_) => el("button", { type: "button", onclick: () => keys[key_]() }, text);
  return fill(`${key} ${sort}`, (rows) => `${titleOf(key)} · ${counted(rows.length, "image")}`, () => [
    el("button", { type: "button", onclick: () => go({ name: "clusters" }) }, "← All clusters"), sortBox(sort),
    act("rename", "Rename (r)", "r"), act("merge", "Merge (m)", "m"), act("split", "Split (s)", "s"),
    act("check", "All checked (c)", "c"), act("pair", "Side by side (b)", "b"),
  ], `group:${key}`, sort, byId("query").value);
}

function showList() {
  const of = view.name === "search" ? "all" : view.name, sort = view.sort ?? "order asc";
  return fill(`${view.name} ${sort} ${view.query ?? ""}`, (rows) => `${LISTS[view.name]} · ${counted(rows.length, "image")}`,
    () => [sortBox(sort)], of, sort, view.query ?? "");
}

async function showPair() {
  const turn = shows;
  const lists = await Promise.all(view.keys.map((key) => api.items({ of: `group:${key}`, sort: "confidence", order: "asc" })));
  if (turn !== shows) return;
  shown?.close?.();
  const grids = view.keys.map((key) => makeGrid(titleOf(key)));
  shown = { name: "pair", grids, close: () => grids.forEach((grid) => grid.close()) };
  const [left, right] = view.keys;
  replace(el("div.bar", {}, el("button", { type: "button", onclick: () => go({ name: "clusters" }) }, "← All clusters"),
    el("button.main", { type: "button", onclick: () => edit({ kind: "merge", groups: [left, right], into: left }, "Merged.") }, "They are the same: merge"),
    el("button", { type: "button", onclick: () => edit({ kind: "distinct", groups: [left, right] }, "Noted.") }, "They are different")),
  el("div.pair", {}, ...view.keys.map((key, side) => el("section", { "aria-label": titleOf(key) },
    el("div.bar", {}, el("h2", {}, `${titleOf(key)} · ${counted(lists[side].length, "image")}`)), grids[side].node))));
  grids.forEach((grid, side) => grid.show(lists[side]));
}

// --- Questions and map --------------------------------------------------------------------------

async function showQuestions() {
  if (!(shown instanceof Queue)) {
    shown?.close?.();
    shown = new Queue({ titleOf, pixel, edit: (wish) => edit(wish), choose: (row) => move([row]), split });
    replace(el("h2.hidden", {}, "Questions"), shown.node);
  }
  await shown.refresh();
}

async function showMap() {
  if (shown instanceof ImageMap) { await shown.refresh(); return; }
  shown?.close?.();
  const map = new ImageMap({ selection, opened: openImage, changed: () => { map.draw(); drawActions(); }, titleOf });
  shown = map;
  replace(el("h2.hidden", {}, "Map"), map.bar, map.box);
  await map.load();
}

// --- What is done -------------------------------------------------------------------------------

const selected = () => [...selection];

async function rename(key) {
  const name = await askText("Rename", "Name of the cluster", group(key).name);
  if (name !== null) await edit({ kind: "rename", group: key, name }, "Renamed.");
}

async function merge(keys_) {
  if (keys_.length > 1) return edit({ kind: "merge", groups: keys_, into: keys_[0] }, `${keys_.length} clusters merged.`);
  const found = await askGroup(`Merge ${titleOf(keys_[0])} with`, titled().filter((one) => one.key !== keys_[0]));
  return found && edit({ kind: "merge", groups: [keys_[0], found.key], into: keys_[0] }, "Merged.");
}

async function split(key) {
  const parts = await askSplit({ key, title: titleOf(key) }, pixel);
  if (parts) await edit({ kind: "split", group: key, parts }, `Split into ${parts.length} parts.`);
}

async function move(rows) {
  const inside = view.name === "group" ? view.keys[0] : null;
  const found = await askGroup(`Move ${counted(rows.length, "image")} to`, titled().filter((one) => one.key !== inside), { create: true });
  if (found?.key) await edit({ kind: "move", rows, group: found.key }, `${counted(rows.length, "image")} moved.`);
  if (found?.create) await edit({ kind: "new", rows, name: found.create }, "New cluster made.");
}

async function create(rows) {
  const name = await askText("New cluster", `Name of the new cluster of ${counted(rows.length, "image")}`, "", "Make it");
  if (name !== null) await edit({ kind: "new", rows, name }, "New cluster made.");
}

const exclude = (rows) => edit({ kind: "exclude", rows, value: view.name !== "excluded" },
  `${counted(rows.length, "image")} ${view.name === "excluded" ? "taken back" : "excluded"}.`);
const check = (rows) => edit({ kind: "check", rows }, `${counted(rows.length, "image")} checked.`);
const ACTIONS = { move, new: create, exclude, check };

function openImage(row) {
  const rows = shown?.grids?.find((grid) => grid.place?.has(row))?.rows ?? [row];
  return lightbox(row, { rows, pixel, titleOf, act: (name, some) => ACTIONS[name](some) });
}

function drawActions() {
  const bar = byId("actions"), clusters = view.name === "clusters" && chosen.size;
  bar.hidden = !selection.size && !clusters;
  if (bar.hidden) return;
  const button = (text, run, off) => el("button", { type: "button", disabled: off, onclick: run }, text);
  const rows = selected();
  bar.replaceChildren(...(clusters ? [
    `${counted(chosen.size, "cluster")} selected`, button("Merge (m)", () => keys.m(), chosen.size < 2),
    button("Side by side (b)", () => keys.b(), chosen.size !== 2),
  ] : [
    `${counted(rows.length, "image")} selected`,
    ...(rows.length === 1 ? [button("Open", () => openImage(rows[0]))] : []), button("Move (v)", () => move(rows)),
    button("New cluster (n)", () => create(rows)),
    button(view.name === "excluded" ? "Take back (x)" : "Exclude (x)", () => exclude(rows)),
    button("Checked (c)", () => check(rows)),
  ]), button("Clear (Esc)", () => keys.Escape()));
}

// --- Keys ---------------------------------------------------------------------------------------

/** The clusters a key is about: the open one, the selected ones, or the one with the focus. */
function about() {
  if (view.name === "group") return view.keys;
  if (view.name !== "clusters") return [];
  if (chosen.size) return [...chosen];
  const at = document.activeElement?.closest?.(".card");
  return at ? [at.dataset.key] : [];
}

async function pair() {
  const found = about();
  if (found.length === 1) {
    const other = await askGroup(`Beside ${titleOf(found[0])}`, titled().filter((one) => one.key !== found[0]));
    if (other) found.push(other.key); else return;
  }
  if (found.length === 2) { chosen.clear(); go({ name: "pair", keys: found }); }
}

function escape() {
  if (selection.size || chosen.size) {
    selection.clear();
    chosen.clear();
    shown?.grids?.forEach((grid) => grid.mark());
    shown?.draw?.();
    if (view.name === "clusters") showClusters();
    drawActions();
  } else if (view.name !== "clusters") go({ name: "clusters" });
}

/** Goes to the view before or after this one. */
function turn(by) {
  const at = VIEWS.findIndex(([name]) => name === view.name);
  return go({ name: VIEWS[(Math.max(0, at) + by + VIEWS.length) % VIEWS.length][0] });
}

const keys = {
  "[": () => turn(-1), "]": () => turn(1), "?": help, "/": () => byId("query").focus(), Escape: escape,
  u: () => edit({ kind: "undo" }, "Undone."), U: () => edit({ kind: "redo" }, "Done again."),
  r: () => about().length === 1 && rename(about()[0]), m: () => about().length && merge(about()),
  s: () => about().length === 1 && split(about()[0]), b: pair,
  v: () => selection.size && move(selected()), n: () => selection.size && create(selected()),
  x: () => selection.size && exclude(selected()),
  c: () => (selection.size ? check(selected()) : checkAll()),
};

async function checkAll() {
  if (view.name === "group") await during(async () => check(await api.items({ of: `group:${view.keys[0]}` })));
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input[type=text], input[type=search], select, dialog");
  if (typing || event.altKey || byId("dialog").open) return;
  if (event.ctrlKey || event.metaKey) {
    const again = event.key === "y" || (event.key === "Z" || (event.key === "z" && event.shiftKey));
    if (event.key.toLowerCase() !== "z" && !again) return;
    event.preventDefault();
    (again ? keys.U : keys.u)();
    return;
  }
  if (view.name === "questions" && shown?.key?.(event.key)) { event.preventDefault(); return; }
  const arrows = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: cardColumns(), ArrowUp: -cardColumns() };
  if (view.name === "clusters" && event.key in arrows) {
    event.preventDefault();
    focusCard(document.activeElement?.closest?.(".card") ? here + arrows[event.key] : 0);
  } else if (view.name === "clusters" && event.key === " " && about().length && event.target.matches(".open")) {
    event.preventDefault();
    event.target.closest(".card").querySelector("input").click();
  } else if (Object.hasOwn(keys, event.key)) {
    event.preventDefault();
    keys[event.key]();
  }
});

byId("undo").onclick = () => keys.u();
byId("redo").onclick = () => keys.U();
byId("help").onclick = () => help();
byId("search").onsubmit = (event) => {
  event.preventDefault();
  const query = byId("query").value;
  if (view.name === "group") { shown = null; show(); } else go(query ? { name: "search", query } : { name: "clusters" });
};

/** Another browser's edits appear here too. */
async function poll() {
  try {
    if (!byId("dialog").open && (await api.state(overview.version)).version !== overview.version) await refresh();
    if (byId("said").dataset.down) { delete byId("said").dataset.down; say("The server is back."); }
  } catch {
    byId("said").dataset.down = "yes";
    byId("said").textContent = "The server does not answer. Start spice review again; every edit is kept.";
  }
  setTimeout(poll, POLL);
}

const probe = new Image();
probe.onload = () => { pixel = Math.max(probe.naturalWidth, probe.naturalHeight) <= 32; };
probe.src = api.thumb(0);
await probe.decode().catch(() => {});
pixel = Math.max(probe.naturalWidth, probe.naturalHeight) <= 32;
try {
  await refresh();
  setTimeout(poll, POLL);
} catch (error) {
  say(error.message);
}
