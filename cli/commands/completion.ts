import { buildCommand } from "@stricli/core";
import { printRaw, whileRead } from "../io.ts";

type Shell = "bash" | "zsh" | "fish";

/** The completion script of each shell. It runs `tsmq complete -- <words up to the cursor>`, which prints one proposal a line. */
const SCRIPTS: Record<Shell, string> = {
  // bash splits a URL at its colons: read the words from the line, and strip the part of the word that bash keeps
  bash: `_tsmq() {
  local line="\${COMP_LINE:0:COMP_POINT}" words
  read -ra words <<< "$line"
  [[ "$line" == *" " ]] && words+=("")
  local word="\${words[-1]}"
  mapfile -t COMPREPLY < <(tsmq complete -- "\${words[@]:1}" 2>/dev/null | cut -f1)
  [[ "$word" == *:* ]] && COMPREPLY=("\${COMPREPLY[@]#"\${word%"\${word##*:}"}"}")
}
complete -o default -F _tsmq tsmq`,
  zsh: `_tsmq() { compadd -- \${(f)"$(tsmq complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null | cut -f1)"} || _files }
compdef _tsmq tsmq`,
  fish: `complete -c tsmq -a '(tsmq complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'`,
};

/** The command `tsmq completion`. */
export const command = buildCommand({
  func: (_: Record<never, never>, shell: Shell) => whileRead(() => printRaw(`${SCRIPTS[shell]}\n`)),
  parameters: {
    positional: {
      kind: "tuple",
      parameters: [{
        parse: (text: string): Shell => {
          if (Object.hasOwn(SCRIPTS, text)) return text as Shell;
          throw new SyntaxError(`must be one of ${Object.keys(SCRIPTS).join(", ")}`);
        },
        brief: "bash, zsh or fish",
        placeholder: "shell",
        proposeCompletions: () => Object.keys(SCRIPTS),
      }],
    },
  },
  docs: {
    brief: "Print the completion script for a shell",
    fullDescription: "Completes commands, flags and URLs. `tsmq` must be an alias or a script on the PATH.",
    customUsage: [
      "<shell>",
      { input: "bash >> ~/.bashrc", brief: "bash" },
      { input: "zsh >> ~/.zshrc", brief: "zsh" },
      { input: "fish > ~/.config/fish/completions/tsmq.fish", brief: "fish" },
    ],
  },
});
