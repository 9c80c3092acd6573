/** What the server is asked; every function returns a promise, which fails with a sentence. */

async function answer(response) {
  if (response.ok) return response.json();
  throw new Error(await response.text() || `The server answered ${response.status}.`);
}

async function get(path, fields = {}) {
  const asked = new URLSearchParams(fields).toString();
  return answer(await fetch(asked ? `${path}?${asked}` : path));
}

export const state = (since) => get("api/state", since === undefined ? {} : { since });
export const items = (look) => get("api/items", look).then((found) => found.rows);
export const item = (row) => get(`api/item/${row}`);
export const map = () => get("api/map");
export const shares = () => get("api/shares");
export const questions = () => get("api/questions").then((found) => found.questions);
export const parts = (group, count) =>
  get("api/split", { group, parts: count }).then((found) => found.parts);

export async function edit(wish) {
  return answer(await fetch("api/edit", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(wish),
  }));
}

export const thumb = (row) => `thumb/${row}`;
export const image = (row) => `image/${row}`;
