// Command appender commits one row to a SQLite file in WAL mode for each line
// that it reads, and answers "stored". The test of konto's sync runs it to show
// that the test can tell a store that syncs from one that does not.
//
//	appender FILE FULL|NORMAL
package main

import (
	"bufio"
	"database/sql"
	"fmt"
	"log"
	"os"

	_ "github.com/mattn/go-sqlite3"
)

func main() {
	db, err := sql.Open("sqlite3", "file:"+os.Args[1]+"?_journal_mode=WAL&_synchronous="+os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE line (text TEXT)"); err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if _, err := db.Exec("INSERT INTO line VALUES (?)", lines.Text()); err != nil {
			log.Fatal(err)
		}
		fmt.Println("stored")
	}
}
