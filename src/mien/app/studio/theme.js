// @ts-check
/** Dark, light, or as the system has it. A classic script in the head, so that no wrong colour flashes up. */
(() => {
  const chosen = localStorage.getItem("mien-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
})();
