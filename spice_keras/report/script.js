"use strict";
// Sorts and filters the cards, enlarges images, opens what is printed. Without it the page is whole.
(() => {
  const $ = (query, from = document) => from.querySelector(query);
  const all = (query, from = document) => [...from.querySelectorAll(query)];
  const grid = $(".cards"), cards = all(".card"), tools = $(".tools");
  const filter = $("#filter"), order = $("#order"), shown = $("#shown");
  const orders = {
    number: (a, b) => a.dataset.cluster - b.dataset.cluster,
    worst: (a, b) => b.dataset.doubt - a.dataset.doubt,
    size: (a, b) => b.dataset.size - a.dataset.size,
  };
  const visible = () => all(".card").filter((card) => !card.hidden);

  function arrange() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    cards.slice().sort((a, b) => orders[order.value](a, b) || orders.number(a, b))
      .forEach((card) => grid.append(card));
    cards.forEach((card) => {
      const text = card.textContent.toLowerCase();
      card.hidden = !words.every((word) => text.includes(word));
    });
    shown.textContent = words.length ? `${visible().length} of ${cards.length} shown` : "";
  }

  if (tools && cards.length) {
    tools.hidden = false;
    filter.addEventListener("input", arrange);
    order.addEventListener("change", arrange);
  }

  const box = $("#lightbox");
  let images = [], place = 0;
  function show(step) {
    place = (place + step + images.length) % images.length;
    const image = images[place];
    const large = $("img", box);
    large.src = image.src;
    large.alt = image.alt;
    large.className = image.closest(".tiny") ? "tiny" : "";
    $("p", box).textContent = `${image.title} · ${place + 1} of ${images.length}`;
  }
  function enlarge(image) {
    const card = image.closest(".card, section");
    images = all(".thumbs img", card);
    place = images.indexOf(image);
    show(0);
    if (!box.open) box.showModal();
  }
  document.addEventListener("click", (event) => {
    if (event.target.matches(".thumbs img")) enlarge(event.target);
    else if (event.target === box || event.target.matches("#lightbox .close")) box.close();
    else if (event.target.matches("#lightbox .back")) show(-1);
    else if (event.target.matches("#lightbox .on")) show(1);
    else if (event.target.matches("#help .close")) $("#help").close();
  });

  function move(step) {
    const list = visible();
    if (!list.length) return;
    const now = list.indexOf(document.activeElement.closest(".card"));
    const next = list[Math.max(0, Math.min(list.length - 1, now + step))];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }
  const keys = {
    j: () => move(1),
    k: () => move(-1),
    "/": () => filter.focus(),
    w: () => { order.value = order.value === "worst" ? "number" : "worst"; arrange(); },
    "?": () => $("#help").showModal(),
    Enter: () => {
      const card = document.activeElement;
      const first = card.matches(".card") && $(".thumbs img", card);
      if (first) enlarge(first);
      return Boolean(first);
    },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (box.open) {
      if (event.key === "ArrowRight" || event.key === "j") show(1);
      else if (event.key === "ArrowLeft" || event.key === "k") show(-1);
      return;
    }
    if (event.key === "Escape" && event.target === filter) {
      filter.value = "";
      arrange();
      filter.blur();
    }
    if (event.target.matches("input, select, summary, button, dialog *")) return;
    if (keys[event.key] && keys[event.key]() !== false) event.preventDefault();
  });

  const open = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const folded = target && target.closest("details");
    if (folded) { folded.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", open);
  open();

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details.fold:not([open])");
    opened.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((one) => { one.open = false; }));
})();
