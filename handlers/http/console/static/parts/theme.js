// @ts-check
// Paper by day, safelight by night: what the person chose, or else what the system says.

export function applyTheme() {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
}

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

export function turnTheme() {
  localStorage.setItem("theme", isDark() ? "light" : "dark");
  applyTheme();
}
