"use strict";
// Sorting, filtering and playing; the page reads well without it.
const list = document.querySelector(".utterances");
const items = [...list.children];
const search = document.querySelector("#search");
const wrong = document.querySelector("#wrong");
const group = document.querySelector("#group");
const count = document.querySelector("#count");
const buttons = [...document.querySelectorAll(".sort button")];
const texts = new Map(items.map((item) => [item, item.textContent.toLowerCase()]));

function filter() {
  const query = search.value.trim().toLowerCase();
  let shown = 0;
  for (const item of items) {
    const fits =
      (!query || texts.get(item).includes(query)) &&
      (!wrong.checked || item.dataset.errors !== "0") &&
      (!group?.value || item.dataset.group.split("\n").includes(group.value));
    item.hidden = !fits;
    shown += fits;
  }
  count.textContent = `${shown} of ${items.length} shown`;
}

function sort(button) {
  const key = button.dataset.key;
  const isAgain = button.getAttribute("aria-pressed") === "true";
  const order = isAgain ? -Number(button.dataset.order) : Number(button.dataset.first);
  for (const other of buttons) {
    other.setAttribute("aria-pressed", String(other === button));
    other.textContent = other.dataset.label;
  }
  button.dataset.order = String(order);
  button.textContent = `${button.dataset.label} ${order > 0 ? "↑" : "↓"}`;
  const value = (item) => item.dataset[key];
  const compare =
    key === "id"
      ? (a, b) => value(a).localeCompare(value(b), undefined, { numeric: true })
      : (a, b) => Number(value(a)) - Number(value(b));
  items.sort((a, b) => order * compare(a, b) || Number(a.dataset.place) - Number(b.dataset.place));
  list.append(...items);
}

search.addEventListener("input", filter);
wrong.addEventListener("change", filter);
group?.addEventListener("change", filter);
for (const button of buttons) button.addEventListener("click", () => sort(button));

const player = document.querySelector(".player");
list.addEventListener("click", (event) => {
  const link = event.target.closest("a.play");
  if (!link) return;
  event.preventDefault();
  const audio = player.querySelector("audio");
  player.hidden = false;
  player.querySelector("span").textContent = link.dataset.title;
  audio.src = link.href;
  audio.play().catch(() => {
    player.querySelector("span").textContent = `${link.dataset.title}: cannot be played`;
  });
});
document.querySelector(".tools").hidden = false;
filter();
