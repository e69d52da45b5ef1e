package mail

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/template"
	"unicode"
)

//go:embed letters/*.txt
var own embed.FS

// letters are the templates of the letter with a code, by language (ISO 639).
type letters map[string]*template.Template

// values are what a template can use.
type values struct {
	Code    string
	Expires string
	Name    string // of who runs konto; may be ""
}

// openLetters returns konto's own letters, or for each language the one in dir if there is one. dir
// may have more languages. The error says what is wrong with a letter.
func openLetters(dir, name string) (letters, error) {
	if strings.ContainsFunc(name, unicode.IsControl) {
		return nil, errors.New("the name in letters has a control character")
	}
	all := letters{}
	if embedded, err := fs.Sub(own, "letters"); err != nil {
		return nil, err
	} else if err := all.add(embedded, name); err != nil {
		return nil, err
	}
	if dir == "" {
		return all, nil
	}
	if err := all.add(os.DirFS(dir), name); err != nil {
		return nil, fmt.Errorf("letters in %s: %w", dir, err)
	}
	return all, nil
}

func (l letters) add(folder fs.FS, name string) error {
	files, err := fs.Glob(folder, "*.txt")
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return errors.New("there is none: each is a file that is called after its language, such as sv.txt")
	}
	for _, file := range files {
		language := strings.TrimSuffix(file, ".txt")
		if known := primary(language); known != language {
			return fmt.Errorf("%s is never used: the letter in its language is called %s.txt", file, known)
		}
		text, err := fs.ReadFile(folder, file)
		if err != nil {
			return err
		}
		parsed, err := template.New(file).Parse(strings.ReplaceAll(string(text), "\r\n", "\n"))
		if err != nil {
			return err
		}
		l[language] = parsed
		sample := values{Code: "0123456789", Expires: "2030-01-01 12:00 UTC", Name: name}
		if _, body, err := l.write(language, sample); err != nil {
			return err
		} else if !strings.Contains(body, sample.Code) {
			return fmt.Errorf("%s does not have {{.Code}} in its text", file)
		}
	}
	return nil
}

// primary returns the name in letters of a language (BCP 47): no region, and one kind of Norwegian.
func primary(language string) string {
	name, _, _ := strings.Cut(strings.ToLower(language), "-")
	if name == "nb" || name == "nn" {
		return "no"
	}
	return name
}

// write returns the letter in a language (BCP 47), or in English if there is none in it.
func (l letters) write(language string, v values) (subject, body string, err error) {
	letter, ok := l[primary(language)]
	if !ok {
		letter = l["en"]
	}
	var text strings.Builder
	if err := letter.Execute(&text, v); err != nil {
		return "", "", err
	}
	head, body, _ := strings.Cut(text.String(), "\n\n")
	subject, ok = strings.CutPrefix(head, "Subject: ")
	if !ok || strings.TrimSpace(subject) == "" || strings.Contains(subject, "\n") {
		return "", "", fmt.Errorf("%s does not begin with a line such as \"Subject: Your code\" and an empty line", letter.Name())
	}
	return subject, strings.TrimSpace(body) + "\n", nil
}
