/** What a role needs to tell its story: pino's calls, object first. Made by `makeLogger`; a test passes `silentLogger`. */
