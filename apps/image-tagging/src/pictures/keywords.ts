/** Keywords as strangers write them, made fit for a caption and for metadata. */

/**
 * The keywords without control characters, line breaks, broken surrogates and what XML cannot hold; spaces at the ends and repeats are gone,
 * and so is a keyword of which nothing visible is left. All else stays: any script, emoji, markup.
 */
export function cleanKeywords(keywords: readonly string[]): string[] {
  const clean = keywords.map((keyword) => keyword.toWellFormed().replace(unprintable, ' ').trim());
  return [...new Set(clean)].filter((keyword) => visible.test(keyword));
}

/** Controls, separators of lines and paragraphs, and the two non-characters that XML 1.0 excludes. */
const unprintable = /[\p{Cc}\p{Zl}\p{Zp}\uFFFE\uFFFF]+/gu;
const visible = /[^\p{White_Space}\p{Default_Ignorable_Code_Point}]/u;

/** For the text of an element of XML, and of Pango's markup. */
export function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
