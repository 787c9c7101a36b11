/**
 * The confirmation dialog, which is shown before many things are changed or something is removed.
 *
 * @module
 */
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { JSX } from "preact";

interface Question {
  readonly title: string;
  readonly text: string;
  /** The label of the button that confirms. */
  readonly yes: string;
  readonly confirmed: () => void;
}

const question = signal<Question | undefined>(undefined);

/** Shows a question, and calls its `confirmed` if the user confirms. */
export function ask(one: Question): void {
  question.value = one;
}

/** The dialog with the open question. */
export function Dialog(): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const open = question.value;
  useEffect(() => {
    if (open && !dialog.current!.open) dialog.current!.showModal();
  }, [open]);
  return (
    <dialog
      ref={dialog}
      aria-labelledby="question"
      onClose={({ currentTarget }) => {
        const { value } = question;
        question.value = undefined;
        if (currentTarget.returnValue === "yes") value?.confirmed();
        currentTarget.returnValue = "";
      }}
    >
      <form method="dialog">
        <h2 id="question">{open?.title}</h2>
        <p>{open?.text}</p>
        <div class="buttons">
          <button type="submit" value="" autofocus>Cancel</button>
          <button type="submit" value="yes" class="danger">{open?.yes}</button>
        </div>
      </form>
    </dialog>
  );
}
