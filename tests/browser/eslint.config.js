// The page's lint. Everything that @eslint/js recommends, and what would get around the page's own policy or its types.
import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["static/vendor/**"] },
  js.configs.recommended,
  {
    files: ["static/**/*.js"],
    languageOptions: { ecmaVersion: 2023, sourceType: "module", globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "eqeqeq": "error",
      "no-console": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-shadow": "error",
      "no-unused-vars": ["error", { varsIgnorePattern: "^_", argsIgnorePattern: "^_" }],
      "no-var": "error",
      "prefer-const": "error",
      "no-restricted-properties": ["error",
        { property: "innerHTML", message: "Lit makes the page's elements: Trusted Types allow nothing else." },
        { property: "outerHTML", message: "Lit makes the page's elements: Trusted Types allow nothing else." },
        { property: "insertAdjacentHTML", message: "Lit makes the page's elements: Trusted Types allow nothing else." },
        { object: "document", property: "write", message: "Lit makes the page's elements." },
        { object: "document", property: "cookie", message: "The session's cookie is no script's to read." }],
    },
  },
];
