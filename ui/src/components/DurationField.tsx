import { parseDuration } from "../time/duration";
import { ValueField } from "./ValueField";

interface Props {
  label: string;
  value: string;
  /** Whether nothing may stand there. */
  isOptional?: boolean;
  placeholder?: string;
  suggestions: readonly string[];
  hint?: string;
  onApply: (value: string) => void;
}

/** A duration, typed or chosen. */
export function DurationField(props: Props) {
  const { label, value, isOptional = false, placeholder, suggestions, hint, onApply } = props;
  const read = (text: string): string | null => {
    if (text === "" ? !isOptional : parseDuration(text) === null) return null;
    // A bare number is seconds.
    return /^[\d.,]+$/.test(text) ? `${text.replace(",", ".")}s` : text;
  };
  return (
    <ValueField
      label={label}
      hint={hint}
      text={value}
      read={read}
      message="Write a duration such as 90s, 5m or 1d."
      placeholder={placeholder}
      suggestions={[
        ...(isOptional ? [{ text: "", title: placeholder ?? "auto" }] : []),
        ...suggestions.map((text) => ({ text, title: text })),
      ]}
      onApply={onApply}
    />
  );
}
