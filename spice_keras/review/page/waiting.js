/** Keys typed while an answer is on its way wait for it, and are then pressed in their order. */

import { byId } from "./dom.js";

const TEXT = "input[type=text], input[type=search], select";
const pressed = [];
let busy = 0, pressing = false;

/** Runs `work`; until it ends, keys wait. */
export async function during(work) {
  busy += 1;
  try { return await work(); } finally {
    busy -= 1;
    pressAll();
  }
}

document.addEventListener("keydown", (event) => {
  const waits = busy || pressing;
  if (!event.isTrusted || !waits || event.isComposing || event.key === "Tab" || event.key === "Shift") return;
  if (event.target.closest(TEXT) && !pressed.length) return; // what is written there is not lost
  const { key, shiftKey, ctrlKey, metaKey, altKey } = event;
  pressed.push({ key, shiftKey, ctrlKey, metaKey, altKey });
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);

async function pressAll() {
  if (pressing) return;
  pressing = true;
  while (pressed.length && !busy) {
    press(pressed.shift());
    await new Promise((resolve) => { setTimeout(resolve); }); // as a dialog needs to take the focus
  }
  pressing = false;
}

/** Does what the browser does when a key is pressed. */
function press(key) {
  const box = byId("dialog"), focused = document.activeElement ?? document.body;
  const target = box.open && !box.contains(focused) ? box : focused;
  const event = new KeyboardEvent("keydown", { ...key, bubbles: true, cancelable: true });
  if (!target.dispatchEvent(event) || key.ctrlKey || key.metaKey || key.altKey) return;
  if (key.key === "Escape" && box.open) box.close();
  else if (target.matches("input[type=text], input[type=search]")) write(target, key.key);
  else if (target.matches("button, summary") && [" ", "Enter"].includes(key.key)) target.click();
  else if (target.matches("input[type=checkbox]") && key.key === " ") target.click();
}

function write(input, key) {
  if (key === "Enter") { input.form?.requestSubmit(); return; }
  const start = input.selectionStart, end = input.selectionEnd;
  if (key === "Backspace") input.setRangeText("", start === end ? Math.max(0, start - 1) : start, end, "end");
  else if (key.length === 1) input.setRangeText(key, start, end, "end");
  else return;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}
