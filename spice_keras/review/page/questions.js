/** The queue: one question at a time, answered with one key. */

import * as api from "./api.js";
import { counted, el } from "./dom.js";
import { during } from "./waiting.js";

export class Queue {
  /** @param {object} options `titleOf(key)`, `edit(wish)`, `choose(row)`, `split(key)`, `pixel`. */
  constructor(options) {
    Object.assign(this, options);
    this.skipped = new Set();
    this.body = el("div.question");
    this.node = el("div.scroll", { tabindex: -1 }, this.body);
  }

  close() {}

  name(question) { return `${question.kind} ${question.groups[0]} ${question.groups[1]} ${question.rows[0]}`; }

  async refresh() {
    const open = (await api.questions()).filter((one) => !this.skipped.has(this.name(one)));
    [this.question] = open;
    this.body.replaceChildren(...(this.question ? this.asked(open.length) : [
      el("p.empty", {}, "No question is open. ", this.skipped.size ? "Some were skipped." : "",
        el("button", { type: "button", onclick: () => { this.skipped.clear(); this.refresh(); } }, "Ask again")),
    ]));
  }

  asked(count) {
    const { kind, groups, rows, settles } = this.question;
    const title = groups.map(this.titleOf);
    const text = {
      same: `Are “${title[0]}” and “${title[1]}” the same thing?`,
      belongs: `Does this image belong to “${title[0]}”?`,
      two: `Is “${title[0]}” two different things?`,
    }[kind];
    const button = (answer, key, name, main) => el(main ? "button.main" : "button", {
      type: "button", onclick: () => this.answer(answer), "data-answer": answer,
    }, `${name} (${key})`);
    const buttons = [button("yes", "y", "Yes", true), button("no", "n", kind === "belongs" ? "No, another" : "No")];
    if (kind === "belongs") {
      groups.slice(1, 6).forEach((key, index) => buttons.push(
        button(key, index + 1, this.titleOf(key))));
      buttons.push(button("exclude", "x", "Exclude"));
    }
    buttons.push(button("skip", "s", "Skip"));
    return [
      el("p.facts", {}, `${counted(count, "question")} open. This answer settles ${counted(settles, "image")}.`),
      el("h2", { tabindex: -1 }, text), ...this.pictures(kind, title, rows),
      el("div.answers", { role: "group", "aria-label": "Answers" }, ...buttons),
    ];
  }

  pictures(kind, title, rows) {
    const shown = (some, first) => el(this.pixel ? "div.shown.pixel" : "div.shown", {}, ...some.map(
      (row, index) => el(first && !index ? "img.first" : "img", { src: api.thumb(row), alt: `Image ${row}` })));
    if (kind === "same") {
      const half = rows.length / 2;
      return [el("div.two", {}, ...[0, 1].map((side) => el("section", {}, el("h3", {}, title[side]),
        shown(side ? rows.slice(Math.ceil(half)) : rows.slice(0, Math.ceil(half))))))];
    }
    if (kind === "belongs" && rows.length > 1) {
      return [shown(rows.slice(0, 1), true), el("p.facts", {}, "It stands for images like these:"), shown(rows.slice(1))];
    }
    return [shown(rows, kind === "belongs")];
  }

  async answer(answer) {
    const { kind, groups, rows } = this.question, [row] = rows;
    if (answer === "skip") { this.skipped.add(this.name(this.question)); return during(() => this.refresh()); }
    if (kind === "same") {
      return this.edit(answer === "yes" ? { kind: "merge", groups, into: groups[0] } : { kind: "distinct", groups });
    }
    if (kind === "two") return answer === "yes" ? this.split(groups[0]) : this.edit({ kind: "whole", group: groups[0] });
    if (answer === "yes") return this.edit({ kind: "check", rows: [row] });
    if (answer === "no") return this.choose(row);
    if (answer === "exclude") return this.edit({ kind: "exclude", rows: [row] });
    return this.edit({ kind: "move", rows: [row], group: answer });
  }

  key(key) {
    if (!this.question) return false;
    const { kind, groups } = this.question;
    const answers = { y: "yes", n: "no", s: "skip", ...(kind === "belongs" ? { x: "exclude" } : {}) };
    if (kind === "belongs" && /^[1-5]$/.test(key) && groups[Number(key)]) answers[key] = groups[Number(key)];
    if (!(key in answers)) return false;
    this.answer(answers[key]);
    return true;
  }
}
